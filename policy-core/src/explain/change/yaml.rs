//! An addition as one line of YAML, to be pasted into the list of rules, peers or ports.

use std::{borrow::Cow, fmt::Write};

use crate::model::{
    ClusterPeer, ClusterRule, Direction, Operator, Peer, Port, PortSpec, ProtocolMatch, Selector,
    peers_field,
};

use super::{addition::Addition, dialect::Dialect};

/// The addition as an item of its list.
pub(super) fn item(dialect: Dialect, direction: Direction, addition: &Addition) -> String {
    let list = peers_field(direction);
    match addition {
        Addition::Port(_, port) => port_yaml(port),
        Addition::Peer(_, peer) => peer_yaml(peer),
        Addition::Rule(rule) => {
            let (peers, ports) = (all(&rule.peers, peer_yaml), all(&rule.ports, port_yaml));
            format!("{{{list}: [{peers}], ports: [{ports}]}}")
        }
        Addition::Protocol(_, entry) => protocol_yaml(dialect, entry),
        Addition::ClusterPeer(_, peer) => cluster_peer_yaml(peer),
        Addition::ClusterRule(_, ClusterRule { action, peers, protocols }) => {
            let (action, field) = (dialect.action(*action), dialect.protocols_field());
            let peers = all(peers, cluster_peer_yaml);
            let protocols = all(protocols, |entry| protocol_yaml(dialect, entry));
            format!("{{action: {action}, {list}: [{peers}], {field}: [{protocols}]}}")
        }
    }
}

fn all<T>(entries: &[T], yaml: impl Fn(&T) -> String) -> String {
    entries.iter().map(yaml).collect::<Vec<_>>().join(", ")
}

fn cluster_peer_yaml(peer: &ClusterPeer) -> String {
    match peer {
        ClusterPeer::Pods(set) => format!(
            "{{pods: {{namespaceSelector: {}, podSelector: {}}}}}",
            selector_yaml(&set.namespaces),
            selector_yaml(&set.pods)
        ),
        ClusterPeer::Nodes(selector) => format!("{{nodes: {}}}", selector_yaml(selector)),
        ClusterPeer::Networks(networks) => {
            let networks: Vec<String> =
                networks.iter().map(|network| format!("\"{network}\"")).collect();
            format!("{{networks: [{}]}}", networks.join(", "))
        }
        ClusterPeer::Unknown(_) => "{}".to_owned(),
    }
}

fn protocol_yaml(dialect: Dialect, entry: &ProtocolMatch) -> String {
    match (entry, dialect) {
        (ProtocolMatch::Range { protocol, first, .. }, Dialect::V1alpha1) => {
            format!("{{portNumber: {{protocol: {protocol}, port: {first}}}}}")
        }
        (ProtocolMatch::Range { protocol, first, .. }, Dialect::V1alpha2) => {
            let protocol = protocol.name().to_lowercase();
            format!("{{{protocol}: {{destinationPort: {{number: {first}}}}}}}")
        }
        (ProtocolMatch::Named(name), Dialect::V1alpha1) => format!("{{namedPort: {name}}}"),
        (ProtocolMatch::Named(name), Dialect::V1alpha2) => {
            format!("{{destinationNamedPort: {name}}}")
        }
    }
}

fn peer_yaml(peer: &Peer) -> String {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let mut out = String::from("{");
            if let Some(namespaces) = namespaces {
                let _ = write!(out, "namespaceSelector: {}, ", selector_yaml(namespaces));
            }
            let _ = write!(out, "podSelector: {}}}", selector_yaml(pods));
            out
        }
        Peer::Block(block) => format!("{{ipBlock: {{cidr: \"{}\"}}}}", block.cidr),
    }
}

/// A selector that has only `matchLabels`.
fn selector_yaml(selector: &Selector) -> String {
    let labels = selector.requirements.iter().filter_map(|requirement| {
        let Operator::In(values) = &requirement.operator else { return None };
        let value = values.first()?;
        Some(format!("{}: \"{value}\"", key(&requirement.key)))
    });
    let labels: Vec<String> = labels.collect();
    if labels.is_empty() {
        return "{}".to_owned();
    }
    format!("{{matchLabels: {{{}}}}}", labels.join(", "))
}

/// The key of a label, in quotes where YAML would not read it as a string.
fn key(key: &str) -> Cow<'_, str> {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(key));
    let is_text = key.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_word;
    if is_text { Cow::Borrowed(key) } else { Cow::Owned(format!("\"{key}\"")) }
}

fn port_yaml(port: &Port) -> String {
    let number = match &port.port {
        PortSpec::Range { first, .. } => format!(", port: {first}"),
        PortSpec::Named(name) => format!(", port: {name}"),
        PortSpec::Every => String::new(),
    };
    format!("{{protocol: {}{number}}}", port.protocol)
}
