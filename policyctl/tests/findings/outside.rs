//! NP022, NP023, NP024: the API server, the other family, and ports of Services.

use policy_core::lint::{Finding, lint};
use policy_manifest::{ReadOptions, Source, read_with, render};

use crate::{found, policy};

fn egress(rules: &str) -> String {
    format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rules}]}}")
}

/// Fields of `web/p` at which a code is found.
fn fields(findings: &[Finding], code: &str) -> Vec<String> {
    let matching =
        findings.iter().filter(|one| one.code == code && one.object.to_string() == "web/p");
    matching.map(|one| one.field.to_string()).collect()
}

/// The API server: its Service, and the slice that the server itself keeps.
const API: &str = "\
---
apiVersion: v1
kind: Service
metadata: {name: kubernetes, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443, targetPort: 6443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
addressType: IPv4
endpoints: [{addresses: [192.168.0.1], conditions: {ready: true}}]
ports: [{name: https, port: 6443}]
";

#[test]
fn np022_s41_the_api_server_by_its_cluster_ip_alone() {
    const FIRST: &[&str] = &["spec.egress[0].to[0].ipBlock"];
    let to = |cidr: &str, port: u16| {
        format!("{{to: [{{ipBlock: {{cidr: {cidr}}}}}], ports: [{{port: {port}}}]}}")
    };
    let by_ip = to("10.96.0.1/32", 443);
    #[rustfmt::skip]
    let cases: [(&str, String, &str, &[&str]); 9] = [
        ("the cluster IP alone",                    by_ip.clone(),                                                    API, FIRST),
        ("the network of Services",                 to("10.96.0.0/12", 443),                                          API, FIRST),
        ("its own address, too",                    format!("{by_ip}, {}", to("192.168.0.1/32", 6443)),               API, &[]),
        ("another port",                            to("10.96.0.1/32", 80),                                           API, &[]),
        ("everything",                              to("0.0.0.0/0", 443),                                             API, &[]),
        ("without its Service, a usual address",    by_ip.clone(),                                                    "",  FIRST),
        ("without it, with the API server's port",  format!("{by_ip}, {}", to("192.168.0.0/24", 6443)),               "",  &[]),
        ("without it, with another block at 443",   format!("{by_ip}, {}", to("192.168.0.0/24", 443)),                "",  &[]),
        ("without it, another address",             to("192.0.2.1/32", 443),                                          "",  &[]),
    ];
    for (claim, rules, api, want) in cases {
        let findings = found(&format!("{}{api}", policy("p", &egress(&rules))));
        assert_eq!(fields(&findings, "NP022"), want, "{claim}: {findings:#?}");
        assert!(
            findings
                .iter()
                .all(|one| one.code != "NP008" || !one.message.contains("default/kubernetes")),
            "{claim}: {findings:#?}"
        );
    }
    let findings = found(&format!("{}{API}", policy("p", &egress(&by_ip))));
    let finding = findings.iter().find(|one| one.code == "NP022");
    let fix = finding.map(|one| one.suggestion.as_str()).unwrap_or_default();
    assert!(fix.contains("ipBlock 192.168.0.1/32 at port 6443"), "{fix}");
}

#[test]
fn np022_s41_the_rule_that_the_finding_suggests_removes_it_without_any_pod_too() {
    let read = |rules: &str| {
        let text = format!("{}{API}", policy("p", &egress(rules)));
        let source = Source { name: "test".to_owned(), text };
        let read = read_with(&[source], &ReadOptions::default());
        let manifests = read.unwrap_or_else(|errors| panic!("{}", render(&errors, false)));
        lint(&manifests.snapshot, &[])
    };
    let by_ip = "{to: [{ipBlock: {cidr: 10.96.0.1/32}}], ports: [{port: 443}]}";
    let own = "{to: [{ipBlock: {cidr: 192.168.0.1/32}}], ports: [{port: 6443}]}";
    assert_eq!(fields(&read(by_ip), "NP022").len(), 1);
    assert_eq!(fields(&read(&format!("{by_ip}, {own}")), "NP022").len(), 0);
}

#[test]
fn np023_s20_one_family_of_two() {
    const DUAL: &str = "\
---
apiVersion: v1
kind: Pod
metadata: {name: dual, namespace: web, labels: {app: dual}}
spec: {nodeName: n1, containers: []}
status: {podIPs: [{ip: 10.0.5.1}, {ip: fd00::1}]}
";
    const FOUR: &[&str] = &["spec.egress[0].to[0].ipBlock"];
    let four = "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}], ports: [{port: 443}]}";
    let six = "{to: [{ipBlock: {cidr: \"::/0\"}}], ports: [{port: 443}]}";
    let both = "{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: \"::/0\"}}]}";
    #[rustfmt::skip]
    let cases: [(&str, String, &str, &[&str]); 7] = [
        ("IPv4 alone",                  four.to_owned(),                              DUAL, FOUR),
        ("IPv6 alone",                  six.to_owned(),                               DUAL, FOUR),
        ("both in one rule",            both.to_owned(),                              DUAL, &[]),
        ("both in two rules",           format!("{four}, {six}"),                     DUAL, &[]),
        ("the other at another port",   format!("{four}, {}", six.replace("443", "80")), DUAL, &["spec.egress[0].to[0].ipBlock", "spec.egress[1].to[0].ipBlock"]),
        ("pods of one family",          four.to_owned(),                              "",   &[]),
        ("a part of a family",          four.replace("0.0.0.0/0, except: [10.0.0.0/8]", "192.0.2.0/24"), DUAL, &[]),
    ];
    for (claim, rules, pods, want) in cases {
        let findings = found(&format!("{}{pods}", policy("p", &egress(&rules))));
        assert_eq!(fields(&findings, "NP023"), want, "{claim}: {findings:#?}");
    }
}

#[test]
fn np024_s40_the_port_of_the_service() {
    const SERVICE: &str = "\
---
apiVersion: v1
kind: Service
metadata: {name: sql, namespace: db}
spec: {clusterIP: 10.96.0.20, selector: {app: sql}, ports: [{port: 3306, targetPort: 5432}]}
";
    const PORT: &[&str] = &["spec.egress[0].ports[0]"];
    let db = "{namespaceSelector: {}, podSelector: {matchLabels: {app: sql}}}";
    let rule = |peers: &str, ports: &str| egress(&format!("{{to: [{peers}], ports: [{ports}]}}"));
    #[rustfmt::skip]
    let cases: [(&str, String, &str, &[&str]); 7] = [
        ("the Service's port",               rule(db, "{port: 3306}"),                                   SERVICE,  PORT),
        ("the backend's port",               rule(db, "{port: 5432}"),                                   SERVICE,  &[]),
        ("both, for other programs",         rule(db, "{port: 3306}, {port: 5432}"),                     SERVICE,  &[]),
        ("a range around it",                rule(db, "{port: 3000, endPort: 4000}"),                    SERVICE,  &[]),
        ("over UDP",                         rule(db, "{port: 3306, protocol: UDP}"),                    SERVICE,  &[]),
        ("no Service",                       rule(db, "{port: 3306}"),                                   "",       &[]),
        ("also an address outside",          rule(&format!("{db}, {{ipBlock: {{cidr: 192.0.2.0/24}}}}"), "{port: 3306}"), SERVICE, &[]),
    ];
    for (claim, spec, service, want) in cases {
        let findings = found(&format!("{}{service}", policy("p", &spec)));
        assert_eq!(fields(&findings, "NP024"), want, "{claim}: {findings:#?}");
    }
    // A pod that serves the number itself.
    let serving = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: old, namespace: db, labels: {app: sql}}\nspec: {nodeName: n1, containers: [{name: c, image: c, ports: [{containerPort: 3306}]}]}\nstatus: {podIPs: [{ip: 10.0.1.9}]}\n";
    let findings = found(&format!("{}{SERVICE}{serving}", policy("p", &rule(db, "{port: 3306}"))));
    assert_eq!(fields(&findings, "NP024").len(), 0, "{findings:#?}");
    // Ingress is judged at the port of the selected pod.
    let own = "---\napiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: web}\nspec: {clusterIP: 10.96.0.21, selector: {app: front}, ports: [{port: 8000, targetPort: http}]}\n";
    let spec = "{podSelector: {}, ingress: [{ports: [{port: 8000}]}]}";
    let findings = found(&format!("{}{own}", policy("p", spec)));
    assert_eq!(fields(&findings, "NP024"), ["spec.ingress[0].ports[0]"], "{findings:#?}");
}
