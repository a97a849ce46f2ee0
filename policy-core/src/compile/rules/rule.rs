//! Compiled rules: what a policy allows or denies, to whom and at which ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::rules::peer_list::PeerList,
    model::{Action, Direction, Pod, Protocol},
    ports::Ports,
};

/// A policy's rules, by their index in the API object; none in a direction that it leaves alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledPolicy {
    pub(crate) stage: Stage,
    pub(crate) ingress: Vec<CompiledRule>,
    pub(crate) egress: Vec<CompiledRule>,
}

/// When a policy is asked (S51).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// First; rules in order.
    Admin,
    /// Then, where one selects the pod; rules have no order, and what none allows is denied.
    #[default]
    NetworkPolicy,
    /// Last; rules in order.
    Baseline,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompiledRule {
    /// What it does; of a `NetworkPolicy`, `Accept`.
    pub(crate) action: Action,
    /// `from` or `to`; `None` means every address (S11).
    pub(crate) peers: Option<PeerList>,
    /// What stands for `peers` and `ports` in tables, where rules were joined; of the others that
    /// a rule stands for, nothing.
    pub(crate) joined: Option<Arc<[Joined]>>,
    /// `ports`.
    pub(crate) ports: RulePorts,
}

/// What rules that were joined allow to some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The addresses.
    pub(crate) peers: PeerList,
    /// The ports.
    pub(crate) ports: RulePorts,
}

/// The ports of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RulePorts {
    /// Those given by number.
    pub(crate) numbers: Ports,
    /// Those that only a pod can resolve.
    pub(crate) names: BTreeSet<NamedPort>,
}

/// Named ports and their numbers.
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
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The same, to change them.
    pub(crate) fn rules_mut(&mut self, direction: Direction) -> &mut [CompiledRule] {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }
}

impl CompiledRule {
    /// Whom it means and at which ports, as tables know it; `None` means every address.
    pub(crate) fn grants(&self) -> impl Iterator<Item = (Option<&PeerList>, &RulePorts)> {
        let joined = self.joined.as_ref();
        let alone = joined.is_none().then_some((self.peers.as_ref(), &self.ports));
        let joined = joined.into_iter().flat_map(|all| all.iter());
        joined.map(|one| (Some(&one.peers), &one.ports)).chain(alone)
    }
}

impl RulePorts {
    /// The numbers that the names have here, and those given.
    pub(crate) fn resolve(&self, resolved: &ResolvedPorts) -> Ports {
        let named = self.names.iter().flat_map(|name| {
            let numbers = resolved.get(name).into_iter().flatten();
            numbers.map(|&port| (name.protocol, port, port))
        });
        Ports::union([&self.numbers, &Ports::from_ranges(named)])
    }

    /// Whether a port is among the numbers that the names have here, or among those given.
    pub(crate) fn hold(&self, resolved: &ResolvedPorts, protocol: Protocol, port: u16) -> bool {
        let named = |name: &NamedPort| {
            name.protocol == protocol
                && resolved.get(name).is_some_and(|numbers| numbers.contains(&port))
        };
        self.numbers.contains(protocol, port) || self.names.iter().any(named)
    }

    /// The numbers that the names have on a pod.
    pub(crate) fn names_on(&self, pod: &Pod) -> ResolvedPorts {
        let numbers = |name: &NamedPort| pod.named_ports(&name.name, name.protocol).collect();
        let resolved = self.names.iter().map(|name| (name.clone(), numbers(name)));
        resolved.filter(|(_, numbers): &(_, BTreeSet<_>)| !numbers.is_empty()).collect()
    }
}
