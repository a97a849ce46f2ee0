//! `NetworkPolicies`.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use super::{Direction, Labels, Protocol, Selector};

/// `metadata.annotations` of a policy, without kubectl's own
/// `kubectl.kubernetes.io/last-applied-configuration`.
///
/// No verdict depends on them.
pub type Annotations = BTreeMap<String, String>;

/// A `NetworkPolicy` (`networking.k8s.io/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// `spec.podSelector`: the subjects, in the policy's namespace.
    /// `None` where it could not be read: any pod there might be meant (S17).
    pub subject: Option<Selector>,
    /// `spec.policyTypes`; `None` where absent or empty (S4).
    pub policy_types: Option<Vec<Direction>>,
    /// `spec.ingress`.
    pub ingress: Vec<Rule>,
    /// `spec.egress`.
    pub egress: Vec<Rule>,
    /// `metadata.annotations`.
    pub annotations: Annotations,
}

impl NetworkPolicy {
    /// Whether it isolates what it selects in this direction (S4).
    #[must_use]
    pub fn applies(&self, direction: Direction) -> bool {
        match (&self.policy_types, direction) {
            (Some(types), _) => types.contains(&direction),
            (None, Direction::Ingress) => true,
            (None, Direction::Egress) => !self.egress.is_empty(),
        }
    }

    /// Its rules of one direction, whether or not they are in force.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The same, to change them.
    pub fn rules_mut(&mut self, direction: Direction) -> &mut Vec<Rule> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// Whether another one has the same verdicts: they differ in annotations at most.
    #[must_use]
    pub fn is_same_rule(&self, other: &Self) -> bool {
        let Self { subject, policy_types, ingress, egress, annotations: _ } = self;
        (subject, policy_types, ingress, egress)
            == (&other.subject, &other.policy_types, &other.ingress, &other.egress)
    }

    /// Whether it selects a pod of its namespace. A policy with an unreadable subject selects every
    /// pod (S17).
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.subject.as_ref().is_none_or(|subject| subject.matches(labels))
    }
}

/// An entry of `ingress` or `egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `from` or `to`; empty where absent: all peers (S11).
    pub peers: Vec<Peer>,
    /// `ports`; empty where absent: every protocol (S21).
    pub ports: Vec<Port>,
}

/// An entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `podSelector` and `namespaceSelector`; without the latter, the policy's own namespace.
    Pods {
        /// `namespaceSelector`.
        namespaces: Option<Selector>,
        /// `podSelector`; absent is the empty one, which matches every pod.
        pods: Selector,
    },
    /// `ipBlock`.
    Block(IpBlock),
}

/// `ipBlock`. Host bits are masked off (S18).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpBlock {
    /// `cidr`.
    pub cidr: IpNetwork,
    /// `except`; an entry outside of `cidr` excludes nothing.
    pub except: Vec<IpNetwork>,
}

/// An entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// `protocol`; absent is TCP (S21).
    pub protocol: Protocol,
    /// `port` and `endPort`.
    pub port: PortSpec,
}

/// `port` and `endPort` of an entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortSpec {
    /// Absent: every port of the protocol.
    Every,
    /// Numbers `first..=last`; `last` equals `first` without `endPort`.
    Range {
        /// `port`.
        first: u16,
        /// `endPort`, not below `first`.
        last: u16,
    },
    /// A name, resolved on the pod that is the destination (S23).
    Named(String),
}
