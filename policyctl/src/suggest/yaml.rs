//! Suggested policies as manifests.
//!
//! The text is written line by line, because no writer of YAML keeps comments; it is read back before
//! it is printed (`proof`).

use std::fmt::Write;

use policy_core::{
    desired::Ports,
    model::{Direction, Family, Labels, NAMESPACE_NAME, Protocol, peers_field, policy_type},
};
use serde_json::{Value, json};

use super::policies::{Suggested, SuggestedPeer, SuggestedRule};

/// The documents of all policies; empty where there are none.
pub(super) fn text(suggested: &[Suggested]) -> String {
    suggested.iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// A policy as the API has it.
pub(super) fn object(suggested: &Suggested) -> Value {
    let rules = |direction: Direction| -> Vec<Value> {
        let rules = suggested.rules.iter().filter(|rule| rule.direction == direction);
        rules
            .map(|rule| json!({peers_field(direction): peers(rule), "ports": ports(&rule.ports)}))
            .collect()
    };
    let types: Vec<&str> = suggested.directions.iter().map(|one| policy_type(*one)).collect();
    let mut object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": suggested.name.name, "namespace": suggested.name.namespace},
        "spec": {"podSelector": match_labels(&suggested.labels), "policyTypes": types},
    });
    for direction in &suggested.directions {
        object["spec"][direction.name()] = rules(*direction).into();
    }
    object
}

fn document(suggested: &Suggested) -> String {
    let Suggested { name, workload, labels, directions, rules } = suggested;
    let types: Vec<&str> = directions.iter().map(|one| policy_type(*one)).collect();
    let mut out = format!(
        "# What was observed of {workload}.\n\
         apiVersion: networking.k8s.io/v1\n\
         kind: NetworkPolicy\n\
         metadata:\n  name: {}\n  namespace: {}\n\
         spec:\n  podSelector: {}\n  policyTypes: [{}]\n",
        scalar(&name.name),
        scalar(&name.namespace),
        match_labels_text(labels),
        types.join(", "),
    );
    for direction in directions {
        let _ = writeln!(out, "  {}:", direction.name());
        for one in rules.iter().filter(|rule| rule.direction == *direction) {
            rule(&mut out, one);
        }
    }
    out
}

fn rule(out: &mut String, rule: &SuggestedRule) {
    if let Some(comment) = rule.comment {
        let _ = writeln!(out, "  # {comment}");
    }
    let _ = writeln!(out, "  - {}:", peers_field(rule.direction));
    for peer in &rule.peers {
        match peer {
            SuggestedPeer::Pods(None, labels) => {
                let _ = writeln!(out, "    - podSelector: {}", match_labels_text(labels));
            }
            SuggestedPeer::Pods(Some(namespace), labels) => {
                let of = Labels::from([(NAMESPACE_NAME.to_owned(), namespace.clone())]);
                let _ = writeln!(out, "    - namespaceSelector: {}", match_labels_text(&of));
                let _ = writeln!(out, "      podSelector: {}", match_labels_text(labels));
            }
            SuggestedPeer::Address(address, owner) => {
                let owner = owner.as_ref().map(|owner| format!(" # {owner}")).unwrap_or_default();
                let block = block(*address);
                let _ = writeln!(out, "    - ipBlock: {{cidr: \"{block}\"}}{owner}");
            }
        }
    }
    let _ = writeln!(out, "    ports:");
    for (protocol, first, last) in &rule.ports.ranges {
        let protocol = if *protocol == Protocol::Tcp {
            String::new()
        } else {
            format!("protocol: {protocol}, ")
        };
        let end = if first == last { String::new() } else { format!(", endPort: {last}") };
        let _ = writeln!(out, "    - {{{protocol}port: {first}{end}}}");
    }
}

fn peers(rule: &SuggestedRule) -> Vec<Value> {
    let peer = |peer: &SuggestedPeer| match peer {
        SuggestedPeer::Pods(None, labels) => json!({"podSelector": match_labels(labels)}),
        SuggestedPeer::Pods(Some(namespace), labels) => json!({
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
            "podSelector": match_labels(labels),
        }),
        SuggestedPeer::Address(address, _) => json!({"ipBlock": {"cidr": block(*address)}}),
    };
    rule.peers.iter().map(peer).collect()
}

fn ports(ports: &Ports) -> Vec<Value> {
    let port = |(protocol, first, last): &(Protocol, u16, u16)| {
        let mut port = json!({"protocol": protocol.name(), "port": first});
        if first != last {
            port["endPort"] = (*last).into();
        }
        port
    };
    ports.ranges.iter().map(port).collect()
}

fn block(address: std::net::IpAddr) -> String {
    let length = match Family::of(address) {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    };
    format!("{address}/{length}")
}

fn match_labels(labels: &Labels) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    json!({"matchLabels": labels})
}

fn match_labels_text(labels: &Labels) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}: {}", scalar(value))).collect();
    format!("{{matchLabels: {{{}}}}}", labels.join(", "))
}

/// A string; in quotes where a reader could take it for another type.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !matches!(text, "null" | "Null" | "NULL");
    if is_plain { text.to_owned() } else { format!("\"{text}\"") }
}
