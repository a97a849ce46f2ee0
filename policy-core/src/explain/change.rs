//! The smallest change of a policy that lets a connection pass.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use ipnetwork::IpNetwork;

use crate::model::{
    Direction, IpBlock, Labels, NAMESPACE_NAME, ObjectName, Operator, Peer, Port, PortSpec,
    Requirement, Rule, Selector, Snapshot,
};

use super::Side;

/// A change of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The policy.
    pub policy: ObjectName,
    /// The list of rules.
    pub direction: Direction,
    /// What to add, and where.
    pub addition: Addition,
}

/// What to add to a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    /// An entry of `ports` of a rule that means the far end.
    Port(usize, Port),
    /// An entry of `from` or `to` of a rule that means the port.
    Peer(usize, Peer),
    /// A rule.
    Rule(Rule),
}

impl Change {
    /// What lets the connection pass at this side; `None` where it passes, or where no policy that
    /// isolates the pod can be read.
    #[must_use]
    pub fn smallest(snapshot: &Snapshot, side: &Side) -> Option<Self> {
        if side.allowed() {
            return None;
        }
        let port = Port {
            protocol: side.protocol,
            port: PortSpec::Range { first: side.port, last: side.port },
        };
        let new = |policy: &ObjectName, addition| Self {
            policy: policy.clone(),
            direction: side.direction,
            addition,
        };
        let in_force =
            || side.candidates.iter().filter(|candidate| candidate.wrong_direction.is_none());
        // Where a list is absent the rule means everything, and would open more than was asked for.
        let listed = |hit: Option<&Option<usize>>| hit.is_some_and(Option::is_some);
        if let Some(near) = in_force().find(|candidate| listed(candidate.peer.as_ref().ok())) {
            return Some(new(&near.policy, Addition::Port(near.rule, port)));
        }
        if let Some(near) = in_force().find(|candidate| listed(candidate.port.as_ref().ok())) {
            let peer = peer(snapshot, &near.policy.namespace, side);
            return Some(new(&near.policy, Addition::Peer(near.rule, peer)));
        }
        let readable = |name: &&ObjectName| {
            snapshot.policies.get(*name).is_some_and(|policy| policy.subject.is_some())
        };
        let policy = side.isolating.iter().find(readable)?;
        let peers = vec![peer(snapshot, &policy.namespace, side)];
        Some(new(policy, Addition::Rule(Rule { peers, ports: vec![port] })))
    }

    /// Makes it.
    pub fn apply(&self, snapshot: &mut Snapshot) {
        let Some(policy) = snapshot.policies.get_mut(&self.policy) else { return };
        let rules = policy.rules_mut(self.direction);
        match &self.addition {
            Addition::Port(index, port) => {
                rules.get_mut(*index).into_iter().for_each(|rule| rule.ports.push(port.clone()));
            }
            Addition::Peer(index, peer) => {
                rules.get_mut(*index).into_iter().for_each(|rule| rule.peers.push(peer.clone()));
            }
            Addition::Rule(rule) => rules.push(rule.clone()),
        }
    }

    /// The list to add to, as a field path.
    #[must_use]
    pub fn field(&self) -> String {
        let (rules, peers) = match self.direction {
            Direction::Ingress => ("spec.ingress", "from"),
            Direction::Egress => ("spec.egress", "to"),
        };
        match &self.addition {
            Addition::Port(index, _) => format!("{rules}[{index}].ports"),
            Addition::Peer(index, _) => format!("{rules}[{index}].{peers}"),
            Addition::Rule(_) => rules.to_owned(),
        }
    }

    /// What to add, as an item of a YAML list.
    #[must_use]
    pub fn yaml(&self) -> String {
        match &self.addition {
            Addition::Port(_, port) => port_yaml(port),
            Addition::Peer(_, peer) => peer_yaml(peer),
            Addition::Rule(rule) => {
                let list = match self.direction {
                    Direction::Ingress => "from",
                    Direction::Egress => "to",
                };
                let peers: Vec<String> = rule.peers.iter().map(peer_yaml).collect();
                let ports: Vec<String> = rule.ports.iter().map(port_yaml).collect();
                format!("{{{list}: [{}], ports: [{}]}}", peers.join(", "), ports.join(", "))
            }
        }
    }
}

/// One line.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add to {} of NetworkPolicy {}: {}", self.field(), self.policy, self.yaml())
    }
}

/// The narrowest peer that means the far end and others of its kind.
fn peer(snapshot: &Snapshot, own: &str, side: &Side) -> Peer {
    let pod = side.remote_pod.as_ref().and_then(|name| Some((name, snapshot.pods.get(name)?)));
    let Some((name, pod)) = pod else {
        return Peer::Block(IpBlock { cidr: IpNetwork::from(side.remote), except: Vec::new() });
    };
    let namespaces = (name.namespace != own)
        .then(|| selector(&Labels::from([(NAMESPACE_NAME.to_owned(), name.namespace.clone())])));
    Peer::Pods { namespaces, pods: selector(&pod.lasting_labels()) }
}

fn selector(labels: &Labels) -> Selector {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In(BTreeSet::from([value.clone()])),
    };
    Selector { requirements: labels.iter().map(requirement).collect() }
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
        Peer::Invalid { .. } => "{}".to_owned(),
    }
}

/// A selector that was made of labels.
fn selector_yaml(selector: &Selector) -> String {
    let labels = selector.requirements.iter().filter_map(|requirement| {
        let Operator::In(values) = &requirement.operator else { return None };
        let value = values.first()?;
        Some(format!("{}: \"{value}\"", requirement.key))
    });
    let labels: Vec<String> = labels.collect();
    if labels.is_empty() {
        return "{}".to_owned();
    }
    format!("{{matchLabels: {{{}}}}}", labels.join(", "))
}

fn port_yaml(port: &Port) -> String {
    let number = match &port.port {
        PortSpec::Range { first, .. } => format!(", port: {first}"),
        PortSpec::Named(name) => format!(", port: {name}"),
        PortSpec::Every | PortSpec::Invalid { .. } => String::new(),
    };
    format!("{{protocol: {}{number}}}", port.protocol)
}
