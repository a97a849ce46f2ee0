//! Rules in the form that the later stages work on; what cannot be expressed becomes a fault.

use std::{collections::BTreeSet, sync::Arc};

use ipnetwork::IpNetwork;

use crate::{
    fault::{Effect, Fault, Problem},
    model::{
        Action, Direction, FieldPath, IpBlock, Kind, NetworkPolicy, ObjectName, ObjectRef, Peer,
        Pod, Port, PortSpec, Protocol, Rule, is_usable,
    },
    ports::Ports,
};

use super::meaning::{NamedPort, Namespaces, PeerKey, PeerList, Resolved};

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

impl CompiledPolicy {
    /// The rules of one direction.
    pub(crate) fn rules(&self, direction: Direction) -> &[CompiledRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The same, to change them.
    pub(super) fn rules_mut(&mut self, direction: Direction) -> &mut [CompiledRule] {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }
}

impl CompiledRule {
    /// Whom it means and at which ports, as tables know it; `None` means every address.
    pub(super) fn grants(&self) -> impl Iterator<Item = (Option<&PeerList>, &RulePorts)> {
        let joined = self.joined.as_ref();
        let alone = joined.is_none().then_some((self.peers.as_ref(), &self.ports));
        let joined = joined.into_iter().flat_map(|all| all.iter());
        joined.map(|one| (Some(&one.peers), &one.ports)).chain(alone)
    }
}

impl RulePorts {
    /// The numbers that the names have here, and those given.
    pub(crate) fn resolve(&self, resolved: &Resolved) -> Ports {
        let named = self.names.iter().flat_map(|name| {
            let numbers = resolved.get(name).into_iter().flatten();
            numbers.map(|&port| (name.protocol, port, port))
        });
        Ports::union([&self.numbers, &Ports::from_ranges(named)])
    }

    /// Whether a port is among the numbers that the names have here, or among those given.
    pub(crate) fn hold(&self, resolved: &Resolved, protocol: Protocol, port: u16) -> bool {
        let named = |name: &NamedPort| {
            name.protocol == protocol
                && resolved.get(name).is_some_and(|numbers| numbers.contains(&port))
        };
        self.numbers.contains(protocol, port) || self.names.iter().any(named)
    }

    /// The numbers that the names have on a pod.
    pub(crate) fn names_on(&self, pod: &Pod) -> Resolved {
        let numbers = |name: &NamedPort| pod.named_ports(&name.name, name.protocol).collect();
        let resolved = self.names.iter().map(|name| (name.clone(), numbers(name)));
        resolved.filter(|(_, numbers): &(_, BTreeSet<_>)| !numbers.is_empty()).collect()
    }
}

/// Puts rules into their working form.
#[derive(Default)]
pub(super) struct RuleCompiler {
    pub(super) faults: Vec<Fault>,
}

/// A place in a policy, for faults.
#[derive(Clone, Copy)]
struct Place<'a> {
    policy: &'a ObjectName,
    direction: Direction,
    rule: usize,
}

impl RuleCompiler {
    /// The rules of a policy in the directions that it applies to.
    pub(super) fn policy(&mut self, name: &ObjectName, policy: &NetworkPolicy) -> CompiledPolicy {
        if policy.subject.is_none() {
            self.faults.push(Fault {
                object: ObjectRef::namespaced(Kind::NetworkPolicy, name),
                field: FieldPath::spec("podSelector"),
                problem: Problem::UnreadableSubject,
                effect: Effect::IsolatesNamespace,
            });
        }
        let mut rules = |direction, rules: &[Rule]| {
            let used = policy.applies(direction);
            let rules = rules.iter().enumerate().filter(|_| used);
            rules
                .map(|(rule, value)| self.rule(Place { policy: name, direction, rule }, value))
                .collect::<Vec<_>>()
        };
        let ingress = rules(Direction::Ingress, &policy.ingress);
        let egress = rules(Direction::Egress, &policy.egress);
        // Whom the author meant is unknown, so nobody may profit from the rules (S17).
        match policy.subject {
            Some(_) => CompiledPolicy { ingress, egress, ..CompiledPolicy::default() },
            None => CompiledPolicy::default(),
        }
    }

    fn rule(&mut self, place: Place<'_>, rule: &Rule) -> CompiledRule {
        // Peers that are all invalid leave an empty list, which is nobody; no peers is everybody.
        let peers = (!rule.peers.is_empty()).then(|| {
            let peers = rule.peers.iter().enumerate();
            let keys = peers.filter_map(|(index, peer)| self.peer(place, index, peer)).collect();
            PeerList::new(keys, false)
        });
        let ports = self.ports(place, &rule.ports);
        CompiledRule { action: Action::Accept, peers, joined: None, ports }
    }

    fn peer(&mut self, place: Place<'_>, index: usize, peer: &Peer) -> Option<PeerKey> {
        match peer {
            Peer::Pods { namespaces, pods } => {
                let namespaces = match namespaces {
                    None => Namespaces::Own(place.policy.namespace.clone()),
                    Some(selector) => Namespaces::Matching(selector.clone()),
                };
                Some(PeerKey::Pods { namespaces, pods: pods.clone() })
            }
            Peer::Block(block) => self.block(place, index, block),
            Peer::Invalid { reason } => {
                let problem = Problem::Invalid(reason.clone());
                self.fault(place, place.peer(index), problem, Effect::MatchesNothing);
                None
            }
        }
    }

    fn block(&mut self, place: Place<'_>, index: usize, block: &IpBlock) -> Option<PeerKey> {
        let field = place.peer(index).field("ipBlock");
        let cidr = masked(block.cidr);
        if is_mapped(cidr) {
            let problem = Problem::MappedBlock(cidr);
            self.fault(place, field.field("cidr"), problem, Effect::MatchesNothing);
            return None;
        }
        let mut except = BTreeSet::new();
        for (index, &inner) in block.except.iter().enumerate() {
            let inner = masked(inner);
            if inner == cidr || !contains(cidr, inner) {
                let field = field.clone().field("except").index(index);
                let problem = Problem::ExceptOutside { except: inner, cidr };
                self.fault(place, field, problem, Effect::ExceptsOverlap);
            }
            if !is_mapped(inner) && (contains(cidr, inner) || contains(inner, cidr)) {
                except.insert(inner);
            }
        }
        Some(PeerKey::Block { cidr, except })
    }

    /// No ports at all is every protocol; ports that are all invalid are none (S21, S22).
    fn ports(&mut self, place: Place<'_>, ports: &[Port]) -> RulePorts {
        if ports.is_empty() {
            return RulePorts { numbers: Ports::everything(), names: BTreeSet::new() };
        }
        let mut ranges = Vec::new();
        let mut names = BTreeSet::new();
        for (index, Port { protocol, port }) in ports.iter().enumerate() {
            let problem = match port {
                PortSpec::Every => {
                    ranges.push((*protocol, 0, u16::MAX));
                    continue;
                }
                PortSpec::Range { first, last } if first <= last => {
                    ranges.push((*protocol, *first, *last));
                    continue;
                }
                PortSpec::Named(name) => {
                    names.insert(NamedPort { name: name.clone(), protocol: *protocol });
                    continue;
                }
                PortSpec::Range { first, last } => {
                    Problem::EndPortBelow { first: *first, last: *last }
                }
                PortSpec::Invalid { reason } => Problem::Invalid(reason.clone()),
            };
            let field = FieldPath::rule(place.direction, place.rule).field("ports").index(index);
            self.fault(place, field, problem, Effect::AllowsNothing);
        }
        RulePorts { numbers: Ports::from_ranges(ranges), names }
    }

    fn fault(&mut self, place: Place<'_>, field: FieldPath, problem: Problem, effect: Effect) {
        let object = ObjectRef::namespaced(Kind::NetworkPolicy, place.policy);
        self.faults.push(Fault { object, field, problem, effect });
    }
}

impl Place<'_> {
    /// The field of a peer of the rule.
    fn peer(self, index: usize) -> FieldPath {
        FieldPath::peer(self.direction, self.rule, index)
    }
}

/// The block with its host bits zero (S18).
pub(crate) fn masked(block: IpNetwork) -> IpNetwork {
    IpNetwork::new(block.network(), block.prefix()).unwrap_or(block)
}

/// Whether `outer` holds all of `inner`; never across families (S20).
pub(crate) fn contains(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

/// Whether all of a block is IPv4 written as IPv6: no packet carries such an address.
pub(super) fn is_mapped(block: IpNetwork) -> bool {
    block.prefix() >= 96 && !is_usable(block.network())
}
