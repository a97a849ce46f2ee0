//! A change of one policy: what to add, and where.

use crate::model::{
    ClusterPeer, ClusterRule, Direction, FieldPath, Peer, PolicyRef, Port, ProtocolMatch, Rule,
    Snapshot, peers_field,
};

use super::dialect::Dialect;

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
            Addition::Protocol(index, _) => rule(index).field(self.dialect().protocols_field()),
            Addition::Peer(index, _) | Addition::ClusterPeer(index, _) => {
                rule(index).field(peers_field(self.direction))
            }
            Addition::Rule(_) | Addition::ClusterRule(..) => FieldPath::spec(self.direction.name()),
        }
    }

    /// The API that the policy is written for.
    pub(super) fn dialect(&self) -> Dialect {
        if self.policy.older_kind().is_some() { Dialect::V1alpha1 } else { Dialect::V1alpha2 }
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
}
