//! `policyctl list --exposure`.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl_on, printed};

/// A workload, a namespace with a pod, and policies for `web` from `rules` on.
fn web(rules: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec: {{template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: batch, namespace: jobs}}
spec: {{template: {{metadata: {{labels: {{app: batch}}}}, spec: {{containers: []}}}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: web, namespace: shop}}
spec: {{podSelector: {{matchLabels: {{app: web}}}}, {rules}}}
"
    )
}

/// The rows of `shop/web` in one direction: `place: ports`.
fn rows(text: &str, direction: &str) -> io::Result<Vec<String>> {
    let output = policyctl_on(text, &["list", "--exposure", "-n", "shop", "-o", "csv"])?;
    assert_code(&output, 0);
    let answer = answer(&output);
    let mut lines = csv_rows(&answer);
    lines.retain(|row| row.first().is_some_and(|first| first == "shop/web") && row[1] == direction);
    Ok(lines.iter().map(|row| format!("{}: {}", row[3], row[5])).collect())
}

/// CSV without quotes inside of quotes.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let split = |line: &str| {
        let mut cells = vec![String::new()];
        let mut is_quoted = false;
        for letter in line.chars() {
            match letter {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => cells.push(String::new()),
                letter => cells.last_mut().into_iter().for_each(|cell| cell.push(letter)),
            }
        }
        cells
    };
    text.lines().map(split).collect()
}

#[test]
fn s2_s12_s13_places_have_the_ports_that_their_pods_would_have() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 12] = [
        ("no rule admits nobody",
         "ingress: []", &[]),
        ("any peer is the whole cluster and every address",
         "ingress: [{ports: [{port: 80}]}]",
         &["the whole cluster: TCP 80", "the internet (0.0.0.0/0): TCP 80", "the internet (::/0): TCP 80"]),
        ("every namespace is the whole cluster",
         "ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}]", &["the whole cluster: TCP 80"]),
        ("labels of namespaces",
         "ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]", &["namespaces team=a: all"]),
        ("a namespace that is not in the manifests",
         "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}, podSelector: {matchLabels: {role: monitor}}}]}]",
         &["namespace ops, pods role=monitor: all"]),
        ("labels of pods in any namespace",
         "ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {role: monitor}}}]}]", &["any namespace, pods role=monitor: all"]),
        ("pods of the own namespace",
         "ingress: [{from: [{podSelector: {matchLabels: {role: monitor}}}]}]", &["namespace shop, pods role=monitor: all"]),
        ("a place that is a pod of the manifests",
         "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: jobs}}, podSelector: {matchLabels: {app: batch}}}]}]", &[]),
        ("NotIn leaves out, so it is not the whole cluster",
         "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}}]}]", &["namespaces env notin (dev): all"]),
        ("a place that has the ports of the whole cluster",
         "ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}, {from: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: 80}]}]",
         &["the whole cluster: TCP 80"]),
        ("a place with more ports than the whole cluster",
         "ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}, {from: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: http}]}]",
         &["the whole cluster: TCP 80", "namespaces team=a: TCP 80, 8080"]),
        ("blocks are not pods",
         "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]", &["203.0.113.0/24: all"]),
    ];
    for (claim, rules, want) in cases {
        assert_eq!(rows(&web(rules), "ingress")?, want, "{claim}");
    }
    Ok(())
}

#[test]
fn s23_s24_names_of_ports_are_those_of_the_pods_there() -> io::Result<()> {
    let rules = "policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: http}, {port: 443}, {protocol: UDP, port: dns}]}]";
    let want = ["namespaces team=a: TCP 443; TCP http; UDP dns"];
    assert_eq!(rows(&web(rules), "egress")?, want);
    Ok(())
}

#[test]
fn s51_a_tier_that_denies_a_place_makes_it_an_exception() -> io::Result<()> {
    let text = web("policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]")
        + "---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-db}
spec:
  {tier: Admin, priority: 10, subject: {namespaces: {}},
   egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: db}}}]},
            {action: Deny, to: [{namespaces: {matchLabels: {team: b}}}], protocols: [{tcp: {destinationPort: {number: 9090}}}]}]}
";
    let want = [
        "the whole cluster: all",
        "namespaces team=b: TCP 1-9089, 9091-65535; UDP; SCTP; other protocols",
        "namespaces team=db: none",
    ];
    assert_eq!(rows(&text, "egress")?, want);
    Ok(())
}

#[test]
fn what_no_policy_selects_is_not_protected() -> io::Result<()> {
    let text = web("ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]");
    let output = policyctl_on(&text, &["list", "--exposure"])?;
    assert_code(&output, 0);
    let want = "\
WORKLOAD        PLACE                     FAMILY      PORTS
jobs/batch  <-  the whole cluster         IPv4, IPv6  all
jobs/batch  <-  the internet (0.0.0.0/0)  IPv4        all
jobs/batch  <-  the internet (::/0)       IPv6        all
jobs/batch  ->  the whole cluster         IPv4, IPv6  all
jobs/batch  ->  the internet (0.0.0.0/0)  IPv4        all
jobs/batch  ->  the internet (::/0)       IPv6        all
shop/web    <-  namespaces team=a         IPv4, IPv6  all
shop/web    ->  the whole cluster         IPv4, IPv6  all
shop/web    ->  the internet (0.0.0.0/0)  IPv4        all
shop/web    ->  the internet (::/0)       IPv6        all

Not protected, as no policy selects all of their pods:
  jobs/batch: ingress
  jobs/batch: egress
  shop/web: egress
";
    assert_eq!(answer(&output), want, "{}", printed(&output));
    let output = policyctl_on(&text, &["list", "--exposure", "-n", "shop", "-o", "json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let everything = serde_json::json!({"all": true, "other_protocols": true, "ranges": []});
    let nothing = serde_json::json!({"all": false, "other_protocols": false, "ranges": []});
    let want = serde_json::json!({
        "workload": "shop/web", "direction": "ingress", "protected": true,
        "places": [{
            "place": {"namespaces": "team=a", "pods": "everything"},
            "families": ["IPv4", "IPv6"],
            "ports": everything, "named_ports": [], "some_pods_only": nothing,
        }],
    });
    assert_eq!(report["exposure"][0], want, "{report}");
    assert_eq!(report["exposure"][1]["protected"], false);
    assert_eq!(
        report["exposure"][1]["places"][0]["place"],
        serde_json::json!({"whole_cluster": true})
    );
    let output = policyctl_on(&text, &["list", "--exposure", "-o", "markdown"])?;
    assert_answers(
        &output,
        &[
            "| shop/web | ingress | namespaces team=a | IPv4, IPv6 | all |",
            "Not protected: shop/web: egress",
        ],
    );
    assert_code(&policyctl_on(&text, &["list", "--exposure", "-o", "dot"])?, 2);
    Ok(())
}
