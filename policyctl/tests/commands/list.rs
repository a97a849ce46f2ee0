//! `policyctl list`.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed};

/// Two namespaces: `web` reaches `db` at two ranges, everybody reaches `web` at 80, and `batch` may
/// leave the cluster except for a private network.
const MANIFESTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 2, template: {metadata: {labels: {app: web}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: jobs}
spec: {template: {metadata: {labels: {app: batch}}, spec: {containers: []}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}, {port: 9000, endPort: 9010}, {protocol: UDP}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: batch, namespace: jobs}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}], ports: [{port: 443}]}]
";

#[test]
fn whole_sets_are_listed_for_people() -> io::Result<()> {
    let output = policyctl_on(MANIFESTS, &["list"])?;
    assert_code(&output, 0);
    let want = "\
FROM        TO                           FAMILY      PORTS
jobs/batch  0.0.0.0/0 except 10.0.0.0/8  IPv4        TCP 443
shop/web    shop/db                      IPv4, IPv6  TCP 5432, 9000-9010; UDP
shop/web    shop/web                     IPv4, IPv6  TCP 80
shop/web    0.0.0.0/0                    IPv4        all
shop/web    ::/0                         IPv6        all
0.0.0.0/0   shop/web                     IPv4        TCP 80
::/0        shop/web                     IPv6        TCP 80

7 sets of connections, 3 workloads
";
    assert_eq!(answer(&output), want, "{}", printed(&output));
    Ok(())
}

#[test]
fn every_form_has_the_same_rows() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, &[&str]); 4] = [
        ("csv",      &["from,to,families,ports,some_pods_only\n", "shop/web,shop/db,\"IPv4, IPv6\",\"TCP 5432, 9000-9010; UDP\",none\n"]),
        ("markdown", &["| From | To | Family | Ports |", "| jobs/batch | 0.0.0.0/0 except 10.0.0.0/8 | IPv4 | TCP 443 |"]),
        ("dot",      &["subgraph \"cluster_shop\"", "[label=\"0.0.0.0/0 except 10.0.0.0/8\", shape=ellipse];", "[label=\"TCP 80\"];"]),
        ("mermaid",  &["subgraph s0[\"jobs\"]", "([\"0.0.0.0/0 except 10.0.0.0/8\"])", "-->|\"TCP 443\"|"]),
    ];
    for (form, parts) in cases {
        let output = policyctl_on(MANIFESTS, &["list", "-o", form])?;
        assert_code(&output, 0);
        assert_answers(&output, parts);
    }
    let output = policyctl_on(MANIFESTS, &["list", "-o", "json"])?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let rows = document["connections"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 7, "{document}");
    let block = rows
        .iter()
        .find(|row| row["to"]["block"] == "0.0.0.0/0" && row["from"]["workload"] == "jobs/batch");
    assert_eq!(block.map(|row| &row["to"]["except"][0]), Some(&"10.0.0.0/8".into()));
    let db =
        rows.iter().find(|row| row["to"]["workload"] == "shop/db").cloned().unwrap_or_default();
    assert_eq!(db["families"], serde_json::json!(["IPv4", "IPv6"]));
    assert_eq!(
        db["ports"]["ranges"][1],
        serde_json::json!({"protocol": "TCP", "first": 9000, "last": 9010})
    );
    assert_eq!(db["ports"]["all"], false);
    assert_eq!(document["left_out"]["undefined_namespaces"], 2);
    Ok(())
}

#[test]
fn ports_of_some_pods_only_are_in_brackets() -> io::Result<()> {
    let text = MANIFESTS.to_owned()
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: db-x, namespace: shop, labels: {app: db, role: spare}, ownerReferences: [{kind: Deployment, name: db, controller: true}]}\n---\n\
           apiVersion: v1\nkind: Pod\nmetadata: {name: db-y, namespace: shop, labels: {app: db}, ownerReferences: [{kind: Deployment, name: db, controller: true}]}\n---\n\
           apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: spare, namespace: shop}\n\
           spec: {podSelector: {matchLabels: {role: spare}}, ingress: [{ports: [{port: 22}]}]}\n";
    let output = policyctl_on(&text, &["list", "-n", "shop"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["TCP 5432, 9000-9010; UDP [TCP 22]\n", "[TCP 22]\n"]);
    Ok(())
}

#[test]
fn port_0_is_no_port() -> io::Result<()> {
    let text = MANIFESTS.to_owned()
        + "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: tcp, namespace: shop}\n\
           spec: {podSelector: {}, ingress: [{ports: [{protocol: TCP}]}]}\n---\n\
           apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: no-tcp}\n\
           spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: \
           [{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {range: {start: 1, end: 65535}}}}]}]}\n";
    let output = policyctl_on(&text, &["list", "-n", "shop"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["shop/web   shop/db    IPv4, IPv6  UDP\n"]);
    // Between the pods of web, only TCP to port 0 is left.
    assert!(!answer(&output).contains("shop/web   shop/web"), "{}", printed(&output));
    Ok(())
}

#[test]
fn a_namespace_is_listed_with_what_it_is_connected_to() -> io::Result<()> {
    let output = policyctl_on(MANIFESTS, &["list", "-n", "jobs"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["jobs/batch  0.0.0.0/0 except 10.0.0.0/8", "\n1 set of connections"]);
    Ok(())
}

#[test]
fn a_reader_that_stops_is_no_error() -> io::Result<()> {
    use std::process::Stdio;
    let mut command = policyctl(&["list", "-f", "examples/three-tier.yaml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert_code(&output, 0);
    Ok(())
}

#[test]
fn a_warning_is_part_of_each_form_that_has_comments() -> io::Result<()> {
    let text = format!("{MANIFESTS}---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n");
    for form in ["table", "json", "markdown", "dot", "mermaid"] {
        assert_code(&policyctl_on(&text, &["list", "-o", form])?, 2);
        let output = policyctl_on(&text, &["list", "-o", form, "--ignore-foreign"])?;
        assert_code(&output, 0);
        assert_answers(&output, &["does not cover these policies: CiliumNetworkPolicy"]);
    }
    Ok(())
}
