//! Splits the ports of a protocol into ranges within which no policy, pod or Service distinguishes
//! two ports.
//!
//! ```text
//! policies name 80 and 8000-8999, a pod declares 443
//! 1-79, 80, 81-442, 443, 444-7999, 8000-8999, 9000-65535
//! ```
//!
//! The verdict at the first port of a range is that of all its ports.

use std::collections::BTreeSet;

use policy_core::model::{
    ClusterRule, Direction, PortSpec, Protocol, ProtocolMatch, Rule, Snapshot,
};

/// The ranges of a protocol, in order; together they are 1 to 65535.
pub(crate) fn of(snapshot: &Snapshot, protocol: Protocol) -> Vec<(u16, u16)> {
    let pods = snapshot.pods.values().flat_map(|pod| &pod.ports);
    let pods = pods.map(|port| (port.protocol, port.port, port.port));
    let services = snapshot.services.values().flat_map(|service| &service.ports);
    let services = services.map(|port| (port.protocol, port.port, port.port));
    let named = ranges(snapshot).chain(pods).chain(services);
    let mut starts = BTreeSet::from([1]);
    for (_, first, last) in named.filter(|(of, ..)| *of == protocol) {
        starts.insert(first);
        starts.extend(last.checked_add(1));
    }
    starts.remove(&0);
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    starts.iter().copied().zip(ends).collect()
}

/// Ranges of ports that policies name.
pub(crate) fn ranges(side: &Snapshot) -> impl Iterator<Item = (Protocol, u16, u16)> {
    let named = rules(side).flat_map(|rule| &rule.ports).filter_map(|port| match &port.port {
        PortSpec::Range { first, last } => Some((port.protocol, *first, *last)),
        PortSpec::Every | PortSpec::Named(_) => None,
    });
    let of_tiers = cluster_rules(side).flat_map(|rule| &rule.protocols);
    named.chain(of_tiers.filter_map(|entry| match entry {
        ProtocolMatch::Range { protocol, first, last } => Some((*protocol, *first, *last)),
        ProtocolMatch::Named(_) => None,
    }))
}

/// Rules of all network policies.
pub(crate) fn rules(side: &Snapshot) -> impl Iterator<Item = &Rule> {
    side.policies.values().flat_map(|policy| policy.ingress.iter().chain(&policy.egress))
}

/// Rules of all cluster-wide policies.
pub(crate) fn cluster_rules(side: &Snapshot) -> impl Iterator<Item = &ClusterRule> {
    let policies = side.cluster_policies.values();
    policies.flat_map(|policy| {
        Direction::BOTH.into_iter().flat_map(|direction| policy.rules(direction))
    })
}
