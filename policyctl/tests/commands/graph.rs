//! `policyctl graph`.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed};

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
        ("dot",     "\"a/web\" -> \"b/store\" [label=\"[all]\", style=solid];"),
        ("dot",     "\"b/store\" -> \"a/web\" [label=\"all\", style=dashed];"),
        ("dot",     "\"b/store\" [label=\"store (1)\", style=solid];"),
        ("dot",     "\"a/web\" [label=\"web (2)\", style=dashed];"),
        ("mermaid", "w0 -->|\"[all]\"| w1"),
        ("mermaid", "subgraph s1[\"b\"]"),
    ];
    for (form, part) in cases {
        let output = policyctl_on(COPIES, &["graph", "-o", form])?;
        assert_code(&output, 0);
        assert_answers(&output, &[part]);
    }
    let open = COPIES.replace("10.0.0.1/32", "10.0.0.0/24");
    assert_answers(
        &policyctl_on(&open, &["graph"])?,
        &["\"a/web\" -> \"b/store\" [label=\"all\", style=solid]"],
    );
    let shut = COPIES.replace("10.0.0.1/32", "192.0.2.0/24");
    let output = policyctl_on(&shut, &["graph"])?;
    assert!(!answer(&output).contains("-> \"b/store\""), "{}", printed(&output));
    Ok(())
}

/// Ends and sets of ports, as `graph` and `list` have them.
fn sets(command: &str, text: &str, options: &[&str]) -> io::Result<Vec<Value>> {
    let output = policyctl_on(text, &[&[command, "-o", "json"], options].concat())?;
    assert_code(&output, 0);
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let rows = |field: &str| document[field].as_array().cloned().unwrap_or_default();
    let set = |from: &Value, to: &Value, one: &Value| {
        serde_json::json!([from, to, one["families"], one["ports"], one["some_pods_only"]])
    };
    let edges = rows("edges").into_iter().flat_map(|edge| {
        let sets = edge["sets"].as_array().cloned().unwrap_or_default();
        sets.into_iter().map(|one| set(&edge["from"], &edge["to"], &one)).collect::<Vec<_>>()
    });
    let listed = rows("connections").into_iter().filter_map(|row| {
        let ends = row["from"].get("workload").zip(row["to"].get("workload"));
        ends.map(|(from, to)| set(from, to, &row))
    });
    Ok(edges.chain(listed).collect())
}

#[test]
fn the_sets_are_those_of_list() -> io::Result<()> {
    let mixed = COPIES.replace("[{from: [{ipBlock: {cidr: 10.0.0.1/32}}]}]", "[{from: [{ipBlock: {cidr: 10.0.0.1/32}}]}, {ports: [{port: 443, endPort: 450}, {protocol: UDP}]}]");
    let three = std::fs::read_to_string(crate::program::root().join("examples/three-tier.yaml"))?;
    let tiers = std::fs::read_to_string(crate::program::root().join("examples/tiers.yaml"))?;
    for text in [COPIES, &mixed, &three, &tiers] {
        for options in [&[][..], &["-n", "b"]] {
            if !text.contains("namespace: b}") && !options.is_empty() {
                continue;
            }
            let drawn = sets("graph", text, options)?;
            assert!(!drawn.is_empty());
            assert_eq!(drawn, sets("list", text, options)?);
        }
    }
    Ok(())
}

#[test]
fn a_port_that_is_named_is_drawn_alone() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("7",    "\"a/web\" -> \"b/store\" [label=\"[TCP 7]\", style=solid];"),
        ("9/UDP", "\"b/store\" -> \"a/web\" [label=\"UDP 9\", style=dashed];"),
    ];
    for (port, edge) in cases {
        assert_answers(&policyctl_on(COPIES, &["graph", "--port", port])?, &[edge]);
    }
    let json = policyctl_on(COPIES, &["graph", "--port", "7", "-o", "json"])?;
    let picture: Value = serde_json::from_slice(&json.stdout)?;
    let partly = picture["edges"].as_array().cloned().unwrap_or_default();
    let partly =
        partly.iter().find(|edge| edge["to"] == "b/store").map(|edge| edge["ports"].clone());
    assert_eq!(partly, Some(serde_json::json!([{"port": 7, "protocol": "TCP", "partly": true}])));
    let shut =
        COPIES.replace("ipBlock: {cidr: 10.0.0.1/32}}]", "podSelector: {}}], ports: [{port: 80}]");
    let output = policyctl_on(&shut, &["graph", "--port", "7"])?;
    assert!(!answer(&output).contains("-> \"b/store\""), "{}", printed(&output));
    Ok(())
}

#[test]
fn families_that_differ_have_their_own_sets() -> io::Result<()> {
    let text = COPIES
        .replace("[{ip: 10.0.0.3}]", "[{ip: 10.0.0.3}, {ip: 'fd00::3'}]")
        .replace("[{ip: 10.0.0.1}]", "[{ip: 10.0.0.1}, {ip: 'fd00::1'}]")
        .replace(
            "[{ipBlock: {cidr: 10.0.0.1/32}}]",
            "[{ipBlock: {cidr: 10.0.0.0/24}}], ports: [{port: 5432}]}, {ports: [{port: 80}]",
        );
    let output = policyctl_on(&text, &["graph"])?;
    assert_answers(
        &output,
        &["\"a/web\" -> \"b/store\" [label=\"IPv4: TCP 80, 5432 / IPv6: TCP 80\", style=solid];"],
    );
    let json = policyctl_on(&text, &["graph", "-o", "json"])?;
    let picture: Value = serde_json::from_slice(&json.stdout)?;
    let edges = picture["edges"].as_array().cloned().unwrap_or_default();
    let ports = edges.iter().find(|edge| edge["to"] == "b/store").map(|edge| edge["ports"].clone());
    // The declared port, which IPv6 does not have.
    assert_eq!(ports, Some(serde_json::json!([{"port": 5432, "protocol": "TCP", "partly": true}])));
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
    assert_eq!(picture["namespaces"].as_array().map(Vec::len), Some(4), "{}", printed(&output));
    Ok(())
}

/// The workloads of a graph, without their other fields.
fn workloads<T>(text: &str, field: impl Fn(&Value) -> T) -> io::Result<Vec<(String, T)>> {
    let output = policyctl_on(text, &["graph", "-o", "json"])?;
    assert_code(&output, 0);
    let picture: Value = serde_json::from_slice(&output.stdout)?;
    let namespaces = picture["namespaces"].as_array().cloned().unwrap_or_default();
    let all = namespaces.iter().filter_map(|namespace| namespace["workloads"].as_array()).flatten();
    let name = |one: &Value| one["name"].as_str().unwrap_or_default().to_owned();
    Ok(all.map(|one| (name(one), field(one))).collect())
}

fn pod(name: &str, labels: &str, number: usize) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: a, labels: {{{labels}}}}}\nspec: {{containers: [{{name: c, image: c, ports: [{{containerPort: 80}}]}}]}}\nstatus: {{podIPs: [{{ip: 10.0.0.{number}}}]}}\n"
    )
}

#[test]
fn workloads_that_differ_have_names_that_differ() -> io::Result<()> {
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    #[rustfmt::skip]
    let cases: [(&str, Pairs<'_>, Pairs<'_>); 4] = [
        ("copies",                       &[("p1", "app: x"), ("p2", "app: x")],                           &[("x", r#"["p1","p2"]"#)]),
        ("the name is taken",            &[("p1", "app: x, tier: a"), ("p2", "app: x, tier: b")],         &[("p2", r#"["p2"]"#), ("x", r#"["p1"]"#)]),
        ("that of its first pod is too", &[("p1", "app: x, tier: a"), ("x", "app: x, tier: b")],          &[("x", r#"["p1"]"#), ("x-2", r#"["x"]"#)]),
        ("an empty value is no name",    &[("p1", "app: ''"), ("p2", "app: '', k8s-app: store")],             &[("p1", r#"["p1"]"#), ("store", r#"["p2"]"#)]),
    ];
    for (claim, pods, want) in cases {
        let pods = pods.iter().enumerate();
        let text: String = pods.map(|(at, (name, labels))| pod(name, labels, at + 1)).collect();
        let drawn = workloads(text.trim_start_matches("---\n"), |one| one["pods"].to_string())?;
        let want: Vec<_> =
            want.iter().map(|(name, pods)| ((*name).to_owned(), (*pods).to_owned())).collect();
        assert_eq!(drawn, want, "{claim}");
    }
    Ok(())
}

#[test]
fn a_tier_that_denies_isolates() -> io::Result<()> {
    const TIER: &str = "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: t}\n";
    #[rustfmt::skip]
    let cases = [
        ("denies ingress",     "namespaces: {}",                                      "ingress: [{action: Deny, from: [{namespaces: {}}]}]",                    (true, false)),
        ("denies egress",      "namespaces: {}",                                      "egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]",                (false, true)),
        ("accepts",            "namespaces: {}",                                      "ingress: [{action: Accept, from: [{namespaces: {}}]}]",                  (false, false)),
        ("passes what it can", "namespaces: {}",                                      "egress: [{action: Pass, to: [{networks: [0.0.0.0/0]}]}]",                (false, false)),
        ("passes, closed",     "namespaces: {}",                                      "egress: [{action: Pass, to: [{domainNames: [a.example]}]}]",             (false, true)),
        ("denies others",      "pods: {podSelector: {matchLabels: {app: other}}}",    "ingress: [{action: Deny, from: [{namespaces: {}}]}]",                    (false, false)),
    ];
    for (claim, subject, rules, want) in cases {
        let spec =
            format!("spec: {{tier: Baseline, priority: 1, subject: {{{subject}}}, {rules}}}\n");
        let pods = format!("{}{}", pod("p", "app: x", 1), pod("q", "app: other", 2));
        let text = format!("{pods}{TIER}{spec}").replacen("---\n", "", 1);
        let isolated =
            |one: &Value| (one["ingress_isolated"] == true, one["egress_isolated"] == true);
        let drawn = workloads(&text, isolated)?;
        assert_eq!(drawn.last(), Some(&("x".to_owned(), want)), "{claim}");
    }
    Ok(())
}
