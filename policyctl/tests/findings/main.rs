//! Every rule of the linter: where it fires, and where it does not.

mod addresses;
mod cluster;
mod mesh;
mod outside;
mod overlaps;
mod repository;
mod rules;
mod selectors;
mod tiers;

use policy_core::lint::{Finding, RULES, lint};
use policy_manifest::{Source, read, render};

/// Two namespaces with a pod each, DNS, and a node with two addresses.
const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {team: red}}
---
apiVersion: v1
kind: Pod
metadata: {name: front, namespace: web, labels: {app: front}}
spec: {nodeName: n1, containers: [{name: c, image: c, ports: [{name: http, containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: sql, namespace: db, labels: {app: sql}}
spec: {nodeName: n1, containers: [{name: c, image: c, ports: [{name: sql, containerPort: 5432}]}]}
status: {podIPs: [{ip: 10.0.1.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {nodeName: n1, containers: [{name: c, image: c, ports: [{containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.2.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: ExternalIP, address: 203.0.113.1}]}
";

/// The codes found in the cluster with these documents beside.
pub(crate) fn found(documents: &str) -> Vec<Finding> {
    let text = format!("{CLUSTER}---\n{documents}");
    let source = Source { name: "test".to_owned(), text };
    let manifests = read(&[source]).unwrap_or_else(|errors| panic!("{}", render(&errors, false)));
    lint(&manifests.snapshot, &manifests.left_out.undefined_namespaces)
}

/// A policy of the namespace `web`.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: web}}\nspec: {spec}\n"
    )
}

/// Requires that a code is found at a field of the policy `web/p` with this specification, or,
/// without a field, nowhere.
#[track_caller]
pub(crate) fn assert_found(claim: &str, code: &str, spec: &str, field: Option<&str>) {
    let findings = found(&policy("p", spec));
    let fields: Vec<String> = findings
        .iter()
        .filter(|finding| finding.code == code && finding.object.to_string() == "web/p")
        .map(|finding| finding.field.to_string())
        .collect();
    assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{claim}: {findings:#?}");
}

#[test]
fn codes_are_in_order_and_documented() {
    let codes: Vec<&str> = RULES.iter().map(|rule| rule.code).collect();
    let wanted: Vec<String> = (1..=RULES.len()).map(|number| format!("NP{number:03}")).collect();
    assert_eq!(codes, wanted);
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lint.md");
    let table = std::fs::read_to_string(table).expect("docs/lint.md can be read");
    for rule in RULES {
        assert!(table.contains(&format!("| {} | ", rule.code)), "{}", rule.code);
        assert!(rule.explanation.len() > rule.summary.len(), "{}", rule.code);
        assert!(!rule.explanation.contains("  "), "{}", rule.code);
    }
}
