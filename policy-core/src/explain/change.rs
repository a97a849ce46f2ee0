//! The smallest change of a policy that lets a connection pass.
//!
//! Every addition that would work is tried, and the one that opens least is taken. For a denied
//! connection from pod `x/web` to port 80 of `x/db`, of these three additions the second wins:
//!
//! ```text
//! port 80 to a rule with the peer 10.0.0.0/8    16,777,216 addresses x 1 port
//! peer app=web to a rule with the port 80              2 pods x 1 port
//! a new rule for app=web at port 80                    2 pods x 1 port, later in the list
//! ```

mod tier;
mod width;
mod yaml;

use std::{fmt, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::model::{
    ClusterPeer, ClusterRule, Direction, FieldPath, IpBlock, Labels, NAMESPACE_NAME, ObjectName,
    Operator, Peer, Pod, PolicyRef, Port, PortSpec, ProtocolMatch, Requirement, Rule, Selector,
    Snapshot, peers_field,
};

use super::Side;

/// A change of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// The policy.
    pub policy: PolicyRef,
    /// The list of rules.
    pub direction: Direction,
    /// What to add, and where.
    pub addition: Addition,
}

/// What to add to a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    /// An entry of `ports` of a rule that matches the far end.
    Port(usize, Port),
    /// An entry of `from` or `to` of a rule that matches the port.
    Peer(usize, Peer),
    /// A rule.
    Rule(Rule),
    /// An entry of `protocols` of a tier's rule that matches the far end.
    Protocol(usize, ProtocolMatch),
    /// An entry of `from` or `to` of a tier's rule that matches the port.
    ClusterPeer(usize, ClusterPeer),
    /// A rule of a tier, to insert before the rule of this index.
    ClusterRule(usize, ClusterRule),
}

impl PolicyChange {
    /// The addition that lets the connection pass at this side and opens least else: the fewest pods,
    /// far ends and ports; of equal ones the shortest.
    ///
    /// `None` where the connection passes, where no policy that isolates the pod can be read, and
    /// where several pods have the far end's address, so that no peer matches it.
    #[must_use]
    pub fn smallest(snapshot: &Snapshot, side: &Side) -> Option<Self> {
        if side.allowed() || is_shared(snapshot, side.remote) {
            return None;
        }
        if let Some(decider) = side.decider() {
            return tier::smallest(snapshot, side, decider);
        }
        let port = Port {
            protocol: side.protocol,
            port: PortSpec::Range { first: side.port, last: side.port },
        };
        let new = |policy: &ObjectName, addition| Self {
            policy: policy.clone().into(),
            direction: side.direction,
            addition,
        };
        let in_force =
            || side.candidates.iter().filter(|candidate| candidate.wrong_direction.is_none());
        // A rule without the list matches everything: adding to it would open more than this connection.
        let listed = |hit: Option<&Option<usize>>| hit.is_some_and(Option::is_some);
        let of_peer = in_force().filter(|candidate| listed(candidate.peer.as_ref().ok()));
        let ports = of_peer.map(|near| new(&near.policy, Addition::Port(near.rule, port.clone())));
        let of_port = in_force().filter(|candidate| listed(candidate.port.as_ref().ok()));
        let peers = of_port.map(|near| {
            let peer = peer(snapshot, &near.policy.namespace, side);
            new(&near.policy, Addition::Peer(near.rule, peer))
        });
        let readable = |name: &&ObjectName| {
            snapshot.policies.get(*name).is_some_and(|policy| policy.subject.is_some())
        };
        let rules = side.isolating.iter().filter(readable).map(|policy| {
            let peers = vec![peer(snapshot, &policy.namespace, side)];
            new(policy, Addition::Rule(Rule { peers, ports: vec![port.clone()] }))
        });
        // Of those that open equally much, the first.
        let all = ports.chain(peers).chain(rules);
        all.min_by_key(|change| width::opened(snapshot, change))
    }

    /// Applies the change to a snapshot.
    pub fn apply(&self, snapshot: &mut Snapshot) {
        let (rules, tiered) = match &self.policy {
            PolicyRef::Namespaced(name) => {
                let policy = snapshot.policies.get_mut(name);
                (policy.map(|policy| policy.rules_mut(self.direction)), None)
            }
            PolicyRef::ClusterWide(name) => {
                let policy = snapshot.cluster_policies.get_mut(name);
                (None, policy.map(|policy| policy.rules_mut(self.direction)))
            }
        };
        match (&self.addition, rules, tiered) {
            (Addition::Port(index, port), Some(rules), _) => {
                rules.get_mut(*index).into_iter().for_each(|rule| rule.ports.push(port.clone()));
            }
            (Addition::Peer(index, peer), Some(rules), _) => {
                rules.get_mut(*index).into_iter().for_each(|rule| rule.peers.push(peer.clone()));
            }
            (Addition::Rule(rule), Some(rules), _) => rules.push(rule.clone()),
            (Addition::Protocol(index, entry), _, Some(rules)) => {
                let rule = rules.get_mut(*index).into_iter();
                rule.for_each(|rule| rule.protocols.push(entry.clone()));
            }
            (Addition::ClusterPeer(index, peer), _, Some(rules)) => {
                rules.get_mut(*index).into_iter().for_each(|rule| rule.peers.push(peer.clone()));
            }
            (Addition::ClusterRule(index, rule), _, Some(rules)) => {
                rules.insert((*index).min(rules.len()), rule.clone());
            }
            // The snapshot does not have the policy.
            _ => {}
        }
    }

    /// The list to add to, as a field path.
    #[must_use]
    pub fn field(&self) -> FieldPath {
        let rule = |index: &usize| FieldPath::rule(self.direction, *index);
        match &self.addition {
            Addition::Port(index, _) => rule(index).field("ports"),
            Addition::Protocol(index, _) => rule(index).field("protocols"),
            Addition::Peer(index, _) | Addition::ClusterPeer(index, _) => {
                rule(index).field(peers_field(self.direction))
            }
            Addition::Rule(_) | Addition::ClusterRule(..) => FieldPath::spec(self.direction.name()),
        }
    }

    /// Index of the entry before which the addition must be inserted; `None` where order does not
    /// matter.
    #[must_use]
    pub fn before(&self) -> Option<usize> {
        match self.addition {
            Addition::ClusterRule(index, _) => Some(index),
            Addition::Port(..)
            | Addition::Peer(..)
            | Addition::Rule(_)
            | Addition::Protocol(..)
            | Addition::ClusterPeer(..) => None,
        }
    }

    /// What to add, as an item of a YAML list.
    #[must_use]
    pub fn yaml(&self) -> String {
        yaml::item(self.direction, &self.addition)
    }
}

/// One line.
impl fmt::Display for PolicyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, .. } = self;
        write!(f, "add to {} of {} {policy}", self.field(), policy.kind())?;
        if let Some(index) = self.before() {
            write!(f, ", before [{index}]")?;
        }
        write!(f, ": {}", self.yaml())
    }
}

/// The narrowest peer that matches the far end and the pods that are like it.
fn peer(snapshot: &Snapshot, own: &str, side: &Side) -> Peer {
    let Some((name, pod)) = far_pod(snapshot, side) else {
        return Peer::Block(IpBlock { cidr: IpNetwork::from(side.remote), except: Vec::new() });
    };
    let namespaces = (name.namespace != own).then(|| of_namespace(&name.namespace));
    Peer::Pods { namespaces, pods: selector(&pod.lasting_labels()) }
}

/// Whether several pods have an address: a selector matches it only if it matches all of them (S8).
fn is_shared(snapshot: &Snapshot, address: IpAddr) -> bool {
    let pods = snapshot.pods.values().filter(|pod| pod.is_subject());
    pods.filter(|pod| pod.addresses.contains(&address)).nth(1).is_some()
}

/// The pod at the far end.
fn far_pod<'a>(snapshot: &'a Snapshot, side: &Side) -> Option<(&'a ObjectName, &'a Pod)> {
    snapshot.pods.get_key_value(side.remote_pod.as_ref()?)
}

fn of_namespace(namespace: &str) -> Selector {
    selector(&Labels::from([(NAMESPACE_NAME.to_owned(), namespace.to_owned())]))
}

fn selector(labels: &Labels) -> Selector {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In([value.clone()].into()),
    };
    Selector { requirements: labels.iter().map(requirement).collect() }
}
