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

/// A rule of an Ingress and one of a Gateway to `web`, and a Service for it.
const ROUTES: &str = "\
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 8000, targetPort: 80}, {port: 8001, targetPort: 81}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {selector: {app: db}, ports: [{port: 5432}]}}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: r, namespace: shop}, spec: {rules: [{http: {paths: [
  {backend: {service: {name: web, port: {number: 8000}}}}, {backend: {service: {name: web, port: {number: 8001}}}}, {backend: {service: {name: db, port: {number: 5432}}}}]}}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: h, namespace: shop}, spec: {parentRefs: [{name: public, namespace: infra}], rules: [{backendRefs: [{name: db, port: 5432}]}]}}
";

#[test]
fn what_comes_through_an_ingress_controller_is_a_row() -> io::Result<()> {
    let text = format!("{MANIFESTS}{ROUTES}");
    let output = policyctl_on(&text, &["list"])?;
    assert_code(&output, 0);
    // Nothing admits port 81, and db admits web alone.
    assert_answers(
        &output,
        &["outside through ingress controller  shop/web", "IPv4, IPv6  TCP 80\n"],
    );
    assert_eq!(answer(&output).matches("outside through").count(), 1, "{}", printed(&output));
    for note in [
        "Ingress shop/r: shop/db does not admit an ingress controller of which labels and namespace are not known",
        "HTTPRoute shop/h: shop/db does not admit the pods of Gateway infra/public",
    ] {
        assert!(printed(&output).contains(note), "{}", printed(&output));
    }
    // A Gateway's pods have a label, and are in its namespace.
    let gateway = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: infra}}, podSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: public}}}";
    let open = text.replace("from: [{podSelector", &format!("from: [{gateway}, {{podSelector"));
    let output = policyctl_on(&open, &["list", "-o", "json"])?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let rows = document["connections"].as_array().cloned().unwrap_or_default();
    let through: Vec<&Value> =
        rows.iter().filter(|row| row["from"]["through"].is_string()).collect();
    assert_eq!(through.len(), 2, "{document}");
    assert_eq!(
        through[0]["from"],
        serde_json::json!({"through": "Gateway infra/public", "routes": ["HTTPRoute shop/h"]})
    );
    assert_eq!(
        through[0]["ports"]["ranges"],
        serde_json::json!([{"protocol": "TCP", "first": 5432, "last": 5432}])
    );
    assert_eq!(through[1]["from"]["routes"], serde_json::json!(["Ingress shop/r"]));
    // Without routes the rows are the same but for these.
    let without = policyctl_on(MANIFESTS, &["list", "-o", "csv"])?;
    let with = policyctl_on(&text, &["list", "-o", "csv"])?;
    let others = answer(&with)
        .lines()
        .filter(|line| !line.contains("through"))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(others.trim(), answer(&without).trim());
    Ok(())
}

#[test]
fn pictures_need_no_other_program() -> io::Result<()> {
    let output = policyctl_on(MANIFESTS, &["list", "-o", "svg"])?;
    assert_code(&output, 0);
    let svg = answer(&output);
    assert_answers(
        &output,
        &[
            "<svg ",
            "</svg>",
            "shop/web</tspan>",
            "0.0.0.0/0 except 10.0.0.0/8</tspan>",
            ">TCP 5432, 9000-9010; UDP</tspan>",
        ],
    );
    let heads = ["marker-end=", "marker-start="].map(|head| svg.matches(head).count());
    assert_eq!(heads.iter().sum::<usize>(), 7, "an arrow for each row: {svg}");
    assert_eq!(
        answer(&policyctl_on(MANIFESTS, &["list", "-o", "svg"])?),
        svg,
        "the same each time"
    );
    let output = policyctl_on(MANIFESTS, &["list", "-o", "html"])?;
    assert_code(&output, 0);
    assert_answers(
        &output,
        &[
            "<!doctype html>",
            "<svg ",
            "<td>shop/web</td><td>shop/db</td><td>IPv4, IPv6</td><td>TCP 5432, 9000-9010; UDP</td>",
        ],
    );
    let page = answer(&output);
    // The page loads nothing: the only addresses are names of XML.
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("://"), "{page}");
    assert!(!page.contains("<?xml"), "{page}");
    Ok(())
}

#[test]
fn a_picture_that_nobody_could_read_is_refused() -> io::Result<()> {
    let pod = |number: usize| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: many}}, status: {{podIPs: [{{ip: 10.9.0.{number}}}]}}}}\n"
        )
    };
    let text: String = (1..=25).map(pod).collect();
    let output = policyctl_on(&text, &["list", "-o", "svg"])?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("more than 400 arrows; choose a namespace with -n"));
    assert!(answer(&output).is_empty());
    let output = policyctl_on(&text, &["list", "-o", "html"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["too many rows for a picture", "<td>many/p1</td><td>many/p2</td>"]);
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
    for form in ["table", "json", "markdown", "dot", "mermaid", "svg", "html"] {
        assert_code(&policyctl_on(&text, &["list", "-o", form])?, 2);
        let output = policyctl_on(&text, &["list", "-o", form, "--ignore-foreign"])?;
        assert_code(&output, 0);
        assert_answers(&output, &["does not cover these policies: CiliumNetworkPolicy"]);
    }
    Ok(())
}
