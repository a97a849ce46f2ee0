//! `policyctl graph`.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, told};

/// Two copies of a web server, of which only one is let into a store, and that to the other.
const COPIES: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: a, labels: {app: web, pod-template-hash: x1}}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: a, labels: {app: web, pod-template-hash: x2}}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: store, namespace: b}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 5432}]}]}
status: {podIPs: [{ip: 10.0.0.3}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: b}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/32}}]}]}
";

#[test]
fn every_form_draws_the_same_edges() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("dot",     "\"a/web\" -> \"b/store\" [label=\"5432/TCP*\", style=solid];"),
        ("dot",     "\"b/store\" [label=\"store (1)\", style=solid];"),
        ("dot",     "\"a/web\" [label=\"web (2)\", style=dashed];"),
        ("mermaid", "w0 -->|\"5432/TCP*\"| w1"),
        ("mermaid", "subgraph s1[\"b\"]"),
    ];
    for (form, part) in cases {
        let output = policyctl_on(COPIES, &["graph", "-o", form])?;
        assert_code(&output, 0);
        assert_answers(&output, &[part]);
    }
    let open = COPIES.replace("10.0.0.1/32", "10.0.0.0/24");
    assert_answers(&policyctl_on(&open, &["graph"])?, &["[label=\"5432/TCP\", style=solid]"]);
    let shut = COPIES.replace("10.0.0.1/32", "192.0.2.0/24");
    let output = policyctl_on(&shut, &["graph"])?;
    assert!(!answer(&output).contains("->"), "{}", told(&output));
    Ok(())
}

#[test]
fn json_names_the_policies() -> io::Result<()> {
    let output = policyctl(&["graph", "-f", "examples/three-tier.yaml", "-o", "json"]).output()?;
    assert_code(&output, 0);
    let picture: Value = serde_json::from_slice(&output.stdout)?;
    let edges = picture["edges"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pairs: Vec<_> = edges.iter().map(|edge| (&edge["from"], &edge["to"])).collect();
    let named: Vec<_> =
        pairs.iter().filter_map(|(from, to)| from.as_str().zip(to.as_str())).collect();
    // Pods of these namespaces have no label that names an application.
    assert_eq!(named, [("backend/api", "database/mysql"), ("frontend/web", "backend/api")]);
    assert_eq!(edges[0]["by"], serde_json::json!(["backend/backend", "database/database"]));
    assert_eq!(picture["namespaces"].as_array().map(Vec::len), Some(4), "{}", told(&output));
    Ok(())
}
