//! `ClusterNetworkPolicies`.

use std::fmt;

use ipnetwork::IpNetwork;

use super::{Annotations, Direction, Protocol, Selector};

/// A `ClusterNetworkPolicy` (`policy.networking.k8s.io`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNetworkPolicy {
    /// `spec.tier`.
    pub tier: Tier,
    /// `spec.priority`, 0 to 1000; lower goes first within the tier.
    pub priority: u16,
    /// `spec.subject`: `namespaces` or `pods`.
    /// `None` where it could not be read: any pod might be meant (S17).
    pub subject: Option<PodSet>,
    /// `spec.ingress`, in its order.
    pub ingress: Vec<ClusterRule>,
    /// `spec.egress`, in its order.
    pub egress: Vec<ClusterRule>,
    /// `metadata.annotations`.
    pub annotations: Annotations,
}

/// `spec.tier`: before or after `NetworkPolicies` (S51).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Before them: its rules go first.
    Admin,
    /// After them: only for pods that no `NetworkPolicy` isolates.
    Baseline,
}

/// `action` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Passes; no later policy is evaluated.
    Accept,
    /// Drops; no later policy is evaluated.
    Deny,
    /// Continues after the tier.
    Pass,
}

impl Tier {
    /// Every tier, in the order of evaluation.
    pub const ALL: [Self; 2] = [Self::Admin, Self::Baseline];

    /// Its value in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::Baseline => "Baseline",
        }
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Deny, Self::Pass];

    /// Its value in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Deny => "Deny",
            Self::Pass => "Pass",
        }
    }
}

/// Pods by their namespaces and their own labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodSet {
    /// `namespaces`, or `pods.namespaceSelector`.
    pub namespaces: Selector,
    /// `pods.podSelector`; of `namespaces` the empty one.
    pub pods: Selector,
}

/// An entry of `ingress` or `egress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRule {
    /// `action`.
    pub action: Action,
    /// `from` or `to`; the API wants at least one.
    pub peers: Vec<ClusterPeer>,
    /// `protocols`; empty where absent: every protocol.
    pub protocols: Vec<ProtocolMatch>,
}

/// An entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterPeer {
    /// `namespaces` or `pods`.
    Pods(PodSet),
    /// `nodes`: the addresses of the nodes with these labels; egress only.
    Nodes(Selector),
    /// `networks`; egress only. Host bits are masked off.
    Networks(Vec<IpNetwork>),
    /// One that is not known or cannot be enforced (S52).
    Unknown(UnknownPeer),
}

/// Why a peer is not known or cannot be enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownPeer {
    /// `domainNames`: packets have addresses.
    DomainNames,
    /// It stands for a whole rule that the reader does not understand.
    UnreadableRule,
}

impl fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DomainNames => "domainNames cannot be enforced",
            Self::UnreadableRule => "a rule that cannot be read",
        })
    }
}

/// An entry of `protocols`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolMatch {
    /// `tcp`, `udp` or `sctp` with `destinationPort`: ports `first..=last`.
    Range {
        /// Which of the three.
        protocol: Protocol,
        /// `number`, or `range.start`.
        first: u16,
        /// `number`, or `range.end`; not below `first`.
        last: u16,
    },
    /// `destinationNamedPort`: the container ports of this name, of any protocol.
    Named(String),
}

impl ClusterNetworkPolicy {
    /// Whether another one has the same verdicts: they differ in annotations at most.
    #[must_use]
    pub fn is_same_rule(&self, other: &Self) -> bool {
        let Self { tier, priority, subject, ingress, egress, annotations: _ } = self;
        (tier, priority, subject, ingress, egress)
            == (&other.tier, &other.priority, &other.subject, &other.ingress, &other.egress)
    }

    /// The rules of one direction; without rules the policy does not affect that direction.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &[ClusterRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The same, to change them.
    pub fn rules_mut(&mut self, direction: Direction) -> &mut Vec<ClusterRule> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }
}
