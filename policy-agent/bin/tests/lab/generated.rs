//! Generated clusters, in which the wire and the compiler must say the same of every pair.
//!
//! Few labels, ports and blocks, so that policies meet at the same pods.

use std::{fmt::Write, io};

use fastrand::Rng;
use serde_json::Value;

use crate::program::{TOPOLOGIES, assert_code, lab_on};

/// Clusters for each topology.
const CLUSTERS: u64 = 3;
/// Pods of a cluster, on two nodes in two namespaces.
const PODS: u64 = 6;
/// Policies of a cluster.
const POLICIES: u64 = 7;

const SELECTORS: [&str; 5] = [
    "{}",
    "{matchLabels: {app: a}}",
    "{matchLabels: {app: b}}",
    "{matchExpressions: [{key: tier, operator: NotIn, values: [one]}]}",
    "{matchExpressions: [{key: tier, operator: Exists}]}",
];
const PEERS: [&str; 10] = [
    "{podSelector: {matchLabels: {app: a}}}",
    "{podSelector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}}",
    "{namespaceSelector: {matchLabels: {team: red}}}",
    "{namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}",
    "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: right}}, podSelector: {}}",
    "{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.0/24]}}",
    "{ipBlock: {cidr: 10.244.0.0/24, except: [10.244.0.10/31]}}",
    "{ipBlock: {cidr: \"fd00:10:244::/48\", except: [\"fd00:10:244:1::/64\"]}}",
    "{ipBlock: {cidr: 0.0.0.0/0}}",
    "{ipBlock: {cidr: \"fd00:10:244:1::a/127\"}}",
];
const PORTS: [&str; 8] = [
    "{port: 80}",
    "{port: http}",
    "{port: dns, protocol: UDP}",
    "{port: 53, protocol: UDP}",
    "{port: 80, endPort: 8080}",
    "{port: 81, endPort: 65535}",
    "{protocol: TCP}",
    "{protocol: SCTP}",
];
const TYPES: [&str; 4] = ["[Ingress]", "[Egress]", "[Ingress, Egress]", "[]"];

/// Random choices; the same seed gives the same choices in every run.
struct Choices(Rng);

impl Choices {
    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        self.0.choice(all).copied().unwrap_or_default()
    }

    /// Up to two of them.
    fn some(&mut self, all: &[&str]) -> String {
        let count = self.0.usize(..3);
        let chosen: Vec<&str> = (0..count).map(|_| self.one(all)).collect();
        chosen.join(", ")
    }

    /// Up to two rules.
    fn rules(&mut self, peers: &str) -> String {
        let rules = self.0.usize(..3);
        let rules = (0..rules).map(|_| {
            let (far, ports) = (self.some(&PEERS), self.some(&PORTS));
            format!("{{{peers}: [{far}], ports: [{ports}]}}")
        });
        rules.collect::<Vec<_>>().join(", ")
    }
}

fn cluster(seed: u64) -> String {
    let mut choices = Choices(Rng::with_seed(seed));
    let mut text = String::from(
        "{apiVersion: v1, kind: Namespace, metadata: {name: left, labels: {team: red}}}\n\
         ---\n{apiVersion: v1, kind: Namespace, metadata: {name: right, labels: {team: blue}}}\n",
    );
    for number in 0..PODS {
        let (node, last) = (number % 2, 10 + number / 2);
        let (namespace, app) = (choices.one(&["left", "right"]), choices.one(&["a", "b"]));
        let tier = choices.one(&["", ", tier: one", ", tier: two"]);
        let http = choices.one(&["80", "81", "8080"]);
        let _ = write!(
            text,
            "---\n\
             apiVersion: v1\n\
             kind: Pod\n\
             metadata: {{name: p{number}, namespace: {namespace}, labels: {{app: {app}{tier}}}}}\n\
             spec:\n  nodeName: n{node}\n  containers:\n  - name: c\n    image: c\n    ports:\n    \
             - {{name: http, containerPort: {http}}}\n    \
             - {{name: dns, containerPort: 53, protocol: UDP}}\n\
             status: {{podIPs: [{{ip: 10.244.{node}.{last}}}, {{ip: \"fd00:10:244:{node}::{last:x}\"}}]}}\n"
        );
    }
    for number in 0..POLICIES {
        let (namespace, selector) = (choices.one(&["left", "right"]), choices.one(&SELECTORS));
        let types = choices.one(&TYPES);
        let (ingress, egress) = (choices.rules("from"), choices.rules("to"));
        let _ = write!(
            text,
            "---\n\
             apiVersion: networking.k8s.io/v1\n\
             kind: NetworkPolicy\n\
             metadata: {{name: np{number}, namespace: {namespace}}}\n\
             spec:\n  podSelector: {selector}\n  policyTypes: {types}\n  \
             ingress: [{ingress}]\n  egress: [{egress}]\n"
        );
    }
    text
}

#[test]
fn the_kernel_says_what_the_compiler_says() -> io::Result<()> {
    let (mut allowed, mut denied) = (0, 0);
    for (seed, topology) in (0..CLUSTERS).flat_map(|seed| TOPOLOGIES.map(|one| (seed, one))) {
        println!("seed {seed}, {topology}");
        let output = lab_on(&cluster(seed), &["--topology", topology, "-o", "json"])?;
        assert_code(&output, 0);
        let table: Value = serde_json::from_slice(&output.stdout)?;
        for probe in table["probes"].as_array().into_iter().flatten() {
            match probe["verdict"].as_str() {
                Some("allow") => allowed += 1,
                _ => denied += 1,
            }
        }
    }
    // Each pair of pods at two ports in two families.
    println!("{allowed} allowed, {denied} denied");
    assert_eq!(allowed + denied, CLUSTERS * 2 * PODS * (PODS - 1) * 2 * 2);
    assert!(allowed > 100 && denied > 100, "{allowed} allowed, {denied} denied");
    Ok(())
}
