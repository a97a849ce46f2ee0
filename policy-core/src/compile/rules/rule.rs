//! Compiled rules: what a policy allows or denies, to whom and at which ports.
//!
//! Rules keep their index in the API object, so that a verdict can be attributed to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::rules::peer_list::PeerList,
    model::{Action, ContainerPort, Direction, PerDirection, Protocol, named_ports},
    ports::Ports,
};

/// The rules of a policy, by their index in the API object; none in a direction in which the
/// policy does not isolate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledPolicy {
    pub(crate) stage: Stage,
    pub(crate) rules: PerDirection<Vec<CompiledRule>>,
}

/// When a policy decides (S51).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// First; rules in order.
    Admin,
    /// Second, where one selects the pod; rules have no order, and what none allows is denied.
    #[default]
    NetworkPolicy,
    /// Last; rules in order.
    Baseline,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompiledRule {
    /// What it does; for a `NetworkPolicy` always `Accept`.
    pub(crate) action: Action,
    /// `from` or `to`; `None` is every address (S11).
    pub(crate) peers: Option<PeerList>,
    /// Replaces `peers` and `ports` in the allow stage where rules were merged: in one of the
    /// merged rules the result of all, in the others nothing. See `merge`.
    pub(crate) merged: Option<Arc<[MergedRule]>>,
    /// `ports`.
    pub(crate) ports: RulePorts,
}

/// What merged rules allow to some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MergedRule {
    /// The addresses.
    pub(crate) peers: PeerList,
    /// The ports.
    pub(crate) ports: RulePorts,
}

/// The ports of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RulePorts {
    /// Ports given by number.
    pub(crate) numbers: Ports,
    /// Ports given by name, which the destination pod resolves (S23).
    pub(crate) names: BTreeSet<NamedPort>,
}

/// Named ports and the numbers that they resolve to.
pub(crate) type ResolvedPorts = BTreeMap<NamedPort, BTreeSet<u16>>;

/// A named port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NamedPort {
    /// Name of the container port.
    pub(crate) name: String,
    /// Its protocol.
    pub(crate) protocol: Protocol,
}

impl CompiledPolicy {
    /// The rules of one direction.
    pub(crate) fn rules(&self, direction: Direction) -> &[CompiledRule] {
        self.rules.get(direction)
    }

    /// The rules of one direction, to change them.
    pub(super) fn rules_mut(&mut self, direction: Direction) -> &mut [CompiledRule] {
        self.rules.get_mut(direction)
    }
}

impl CompiledRule {
    /// The peers and ports that the allow stage takes from it; `None` is every address.
    pub(crate) fn grants(&self) -> impl Iterator<Item = (Option<&PeerList>, &RulePorts)> {
        let merged = self.merged.as_ref();
        let alone = merged.is_none().then_some((self.peers.as_ref(), &self.ports));
        let merged = merged.into_iter().flat_map(|all| all.iter());
        merged.map(|one| (Some(&one.peers), &one.ports)).chain(alone)
    }
}

impl RulePorts {
    /// Every protocol and port.
    pub(super) fn everything() -> Self {
        Self { numbers: Ports::everything(), names: BTreeSet::new() }
    }

    /// All ports by number, given what the names resolve to.
    pub(crate) fn resolve(&self, resolved: &ResolvedPorts) -> Ports {
        let named = self.names.iter().flat_map(|name| {
            let numbers = resolved.get(name).into_iter().flatten();
            numbers.map(|&port| (name.protocol, port, port))
        });
        Ports::union([&self.numbers, &Ports::from_ranges(named)])
    }

    /// Whether a port is one of them, given what the names resolve to.
    pub(crate) fn hold(&self, resolved: &ResolvedPorts, protocol: Protocol, port: u16) -> bool {
        let named = |name: &NamedPort| {
            name.protocol == protocol
                && resolved.get(name).is_some_and(|numbers| numbers.contains(&port))
        };
        self.numbers.contains(protocol, port) || self.names.iter().any(named)
    }

    /// What the names resolve to among the ports of a pod's containers.
    pub(crate) fn names_on(&self, ports: &[ContainerPort]) -> ResolvedPorts {
        let numbers = |name: &NamedPort| named_ports(ports, &name.name, name.protocol).collect();
        let resolved = self.names.iter().map(|name| (name.clone(), numbers(name)));
        resolved.filter(|(_, numbers): &(_, BTreeSet<_>)| !numbers.is_empty()).collect()
    }
}
