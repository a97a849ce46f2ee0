//! Rules of `NetworkPolicies` in working form; what cannot be expressed becomes a fault (S17).

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    compile::{
        prefix::{contains, is_mapped, masked},
        rules::{
            peer_list::{Namespaces, PeerKey, PeerList},
            rule::{CompiledPolicy, CompiledRule, NamedPort, RulePorts, Stage},
        },
    },
    fault::{Effect, Fault, Problem},
    model::{
        Action, Direction, FieldPath, IpBlock, Kind, NetworkPolicy, ObjectName, ObjectRef, Peer,
        PerDirection, Port, PortSpec, Rule,
    },
    ports::Ports,
};

/// Compiles the rules of one policy, and collects its faults.
#[derive(Default)]
pub(super) struct RuleCompiler {
    pub(super) faults: Vec<Fault>,
}

/// A place in a policy, for faults.
#[derive(Clone, Copy)]
struct RulePlace<'a> {
    policy: &'a ObjectName,
    direction: Direction,
    rule: usize,
}

impl RuleCompiler {
    /// The rules of a policy in the directions that it applies to. `open` are addresses that the pods
    /// may send to without a rule (S38); none where the policy does not isolate egress.
    pub(super) fn policy(
        &mut self,
        name: &ObjectName,
        policy: &NetworkPolicy,
        open: BTreeSet<IpAddr>,
    ) -> CompiledPolicy {
        if policy.subject.is_none() {
            self.faults.push(Fault {
                object: ObjectRef::namespaced(Kind::NetworkPolicy, name),
                field: FieldPath::spec("podSelector"),
                problem: Problem::UnreadableSubject,
                effect: Effect::IsolatesNamespace,
            });
        }
        let mut rules = PerDirection::from_fn(|direction| {
            let rules = policy.rules(direction).iter().enumerate();
            let used = rules.filter(|_| policy.applies(direction));
            let place = |rule| RulePlace { policy: name, direction, rule };
            used.map(|(rule, value)| self.rule(place(rule), value)).collect::<Vec<_>>()
        });
        if !open.is_empty() {
            // After the rules of the object, so that theirs keep their index.
            rules.egress.push(allow_all_to(open));
        }
        // Which pods the author wanted is unknown, so that the rules may open none (S17).
        match policy.subject {
            Some(_) => CompiledPolicy { stage: Stage::NetworkPolicy, rules },
            None => CompiledPolicy::default(),
        }
    }

    fn rule(&mut self, place: RulePlace<'_>, rule: &Rule) -> CompiledRule {
        // A rule with invalid peers only matches nobody; a rule without peers everybody.
        let peers = (!rule.peers.is_empty()).then(|| {
            let peers = rule.peers.iter().enumerate();
            let keys = peers.filter_map(|(index, peer)| self.peer(place, index, peer)).collect();
            PeerList::new(keys, false)
        });
        let ports = self.ports(place, &rule.ports);
        CompiledRule { action: Action::Accept, peers, merged: None, ports }
    }

    fn peer(&mut self, place: RulePlace<'_>, index: usize, peer: &Peer) -> Option<PeerKey> {
        match peer {
            Peer::Pods { namespaces, pods } => {
                let namespaces = match namespaces {
                    None => Namespaces::Own(place.policy.namespace.clone()),
                    Some(selector) => Namespaces::Matching(selector.clone()),
                };
                Some(PeerKey::Pods { namespaces, pods: pods.clone() })
            }
            Peer::Block(block) => self.block(place, index, block),
        }
    }

    fn block(&mut self, place: RulePlace<'_>, index: usize, block: &IpBlock) -> Option<PeerKey> {
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

    /// The ports of a rule: every protocol without entries (S21), none if all entries are invalid
    /// (S22).
    fn ports(&mut self, place: RulePlace<'_>, ports: &[Port]) -> RulePorts {
        if ports.is_empty() {
            return RulePorts::everything();
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
            };
            let field = FieldPath::rule(place.direction, place.rule).field("ports").index(index);
            self.fault(place, field, problem, Effect::AllowsNothing);
        }
        RulePorts { numbers: Ports::from_ranges(ranges), names }
    }

    fn fault(&mut self, place: RulePlace<'_>, field: FieldPath, problem: Problem, effect: Effect) {
        let object = ObjectRef::namespaced(Kind::NetworkPolicy, place.policy);
        self.faults.push(Fault { object, field, problem, effect });
    }
}

/// A rule that allows everything to some addresses.
fn allow_all_to(addresses: BTreeSet<IpAddr>) -> CompiledRule {
    let block = |address: IpAddr| PeerKey::Block { cidr: address.into(), except: BTreeSet::new() };
    let peers = PeerList::new(addresses.into_iter().map(block).collect(), false);
    CompiledRule {
        action: Action::Accept,
        peers: Some(peers),
        merged: None,
        ports: RulePorts::everything(),
    }
}

impl RulePlace<'_> {
    /// The field of a peer of the rule.
    fn peer(self, index: usize) -> FieldPath {
        FieldPath::peer(self.direction, self.rule, index)
    }
}
