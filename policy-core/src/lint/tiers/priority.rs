//! NP019: cluster-wide policies of one tier and priority that contradict each other.
//!
//! The API leaves open in which order such policies are evaluated, so the verdict on a connection
//! that one accepts and the other denies is not defined. The rule tries connections, and reports
//! the first one on which the two policies differ:
//!
//! ```text
//! a: Admin 10, ingress  Accept from team=red
//! b: Admin 10, ingress  Deny from all namespaces, port 80
//! tried: red/web -> shop/db 80/TCP    a accepts it and b denies it: reported
//! tried: red/web -> shop/db 65535/TCP a accepts it and b has no rule for it: no contradiction
//! ```
//!
//! Tried are a pod that both policies select, each kind of pod and each address that the rules may
//! distinguish as the other end, and the ports at the ends of all ranges.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::{
    explain::{ConnectionEnd, Question, RuleOutcome, Side, TierRule, sides},
    model::{
        Action, ClusterNetworkPolicy, ClusterPeer, ClusterPolicyName, Direction, Family, FieldPath,
        ObjectName, Pod, Protocol, ProtocolMatch, Snapshot,
    },
};

use super::{
    super::{
        context::Context,
        finding::{Level, Report},
    },
    policies, policy_field, subjects,
};

/// Two policies of one tier and priority.
struct EqualPriorities<'a> {
    first: (&'a ClusterPolicyName, &'a ClusterNetworkPolicy),
    second: (&'a ClusterPolicyName, &'a ClusterNetworkPolicy),
}

/// Pairs of policies that give some connection another verdict each.
pub(in super::super) fn check(context: &Context<'_>, report: &mut Report) {
    let all: Vec<_> = policies(context).collect();
    // Network policies would decide in some cases, and hide the contradiction.
    let only_tiers = || Snapshot { policies: BTreeMap::new(), ..context.snapshot.clone() };
    let mut tiers = None;
    for (index, &second) in all.iter().enumerate() {
        let rank = |(_, policy): (&ClusterPolicyName, &ClusterNetworkPolicy)| {
            (policy.tier, policy.priority)
        };
        for &first in all[..index].iter().filter(|first| rank(**first) == rank(second)) {
            let pair = EqualPriorities { first, second };
            if !pair.has_different_actions() {
                continue;
            }
            let tiers = tiers.get_or_insert_with(only_tiers);
            let found = Direction::BOTH
                .into_iter()
                .find_map(|direction| pair.contradiction(context, tiers, direction));
            if let Some(message) = found {
                let at = policy_field(second.0, FieldPath::spec("priority"));
                report.add(at, Level::Warning, message, "give them different priorities");
            }
        }
    }
}

impl EqualPriorities<'_> {
    /// Whether both have rules in some direction, and these have more than one action.
    fn has_different_actions(&self) -> bool {
        Direction::BOTH.into_iter().any(|direction| {
            let actions = |policy: &ClusterNetworkPolicy| -> BTreeSet<Action> {
                policy.rules(direction).iter().map(|rule| rule.action).collect()
            };
            let (first, second) = (actions(self.first.1), actions(self.second.1));
            !first.is_empty() && !second.is_empty() && (&first | &second).len() > 1
        })
    }

    /// Describes a connection on which they contradict each other.
    fn contradiction(
        &self,
        context: &Context<'_>,
        tiers: &Snapshot,
        direction: Direction,
    ) -> Option<String> {
        let subject = ConnectionEnd::Pod(self.common_subject(context)?.clone());
        let ports = self.ports(context, direction);
        let mut remotes: Vec<ConnectionEnd> = one_of_each_kind(context)
            .into_iter()
            .map(|name| ConnectionEnd::Pod(name.clone()))
            .collect();
        remotes.extend(self.addresses(context, direction));
        for remote in &remotes {
            let (from, to) = match direction {
                Direction::Ingress => (remote, &subject),
                Direction::Egress => (&subject, remote),
            };
            for &(protocol, port) in &ports {
                for family in Family::BOTH {
                    let (from, to) = (from.clone(), to.clone());
                    let question = Question { from, to, family, protocol, port };
                    let sides = sides(tiers, &question);
                    let mut here = sides.iter().filter(|side| side.direction == direction);
                    if let Some((first, second)) = here.find_map(|side| self.difference(side)) {
                        let (from, to) = (name(&question.from), name(&question.to));
                        let other = self.first.0;
                        return Some(format!(
                            "{other} has the same priority and contradicts this policy: \
                             {from} -> {to} {port}/{protocol} is {second} here and {first} there, \
                             and the API does not define which policy is evaluated first"
                        ));
                    }
                }
            }
        }
        None
    }

    /// A pod that both policies select.
    fn common_subject<'c>(&self, context: &Context<'c>) -> Option<&'c ObjectName> {
        let others = subjects(context, self.second.1);
        let mut both = subjects(context, self.first.1).into_iter();
        both.find(|pod| others.contains(pod)).map(|(name, _)| name)
    }

    /// What the first matching rule of each does to a connection, where they differ and one of them
    /// is reached.
    fn difference(&self, side: &Side) -> Option<(&'static str, &'static str)> {
        let matching = |name: &ClusterPolicyName| {
            side.tiers.iter().find(|rule| rule.policy == *name && rule.matches())
        };
        let (first, second) = (matching(self.first.0)?, matching(self.second.0)?);
        let is_reached = |rule: &TierRule| {
            matches!(rule.outcome, RuleOutcome::Decides | RuleOutcome::LeavesTier)
        };
        let differ = first.effective_action() != second.effective_action()
            && (is_reached(first) || is_reached(second));
        differ.then(|| (effect_word(first), effect_word(second)))
    }

    /// The ports at the ends of all ranges, those that pods declare under a name that a rule uses,
    /// and one of each protocol that no rule names.
    fn ports(&self, context: &Context<'_>, direction: Direction) -> BTreeSet<(Protocol, u16)> {
        let mut ports = BTreeSet::new();
        let rules = [self.first, self.second].into_iter().flat_map(|one| one.1.rules(direction));
        for entry in rules.flat_map(|rule| &rule.protocols) {
            match entry {
                ProtocolMatch::Range { protocol, first, last } => {
                    // Between two neighbouring ends of ranges every port matches the same rules, so
                    // that these ports, and one that no rule names, stand for all.
                    ports.extend([(*protocol, *first), (*protocol, *last)]);
                }
                ProtocolMatch::Named(name) => {
                    let all = context.snapshot.pods.values().flat_map(|pod| &pod.ports);
                    let named = all.filter(|port| port.name.as_ref() == Some(name));
                    ports.extend(named.map(|port| (port.protocol, port.port)));
                }
            }
        }
        for protocol in Protocol::ALL {
            let free = (1..=u16::MAX).rev().find(|port| !ports.contains(&(protocol, *port)));
            ports.extend(free.map(|port| (protocol, port)));
        }
        ports
    }

    /// The first address of each network, and the addresses of nodes.
    fn addresses(&self, context: &Context<'_>, direction: Direction) -> Vec<ConnectionEnd> {
        let rules = [self.first, self.second].into_iter().flat_map(|one| one.1.rules(direction));
        let peers = rules.flat_map(|rule| &rule.peers);
        let networks = peers.filter_map(|peer| match peer {
            ClusterPeer::Networks(networks) => Some(networks),
            ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown(_) => None,
        });
        let nodes = context.snapshot.nodes.values().flat_map(|node| &node.addresses).copied();
        let first = networks.flatten().map(IpNetwork::network);
        first.chain(nodes).map(ConnectionEnd::Address).collect()
    }
}

/// One pod of each namespace and set of labels; labels that a controller adds do not count.
fn one_of_each_kind<'a>(context: &Context<'a>) -> Vec<&'a ObjectName> {
    let pods = context.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
    let kind = |name: &'a ObjectName, pod: &Pod| (&name.namespace, pod.lasting_labels());
    let kinds: BTreeMap<_, _> = pods.map(|(name, pod)| (kind(name, pod), name)).collect();
    kinds.into_values().collect()
}

fn name(end: &ConnectionEnd) -> String {
    match end {
        ConnectionEnd::Pod(name) | ConnectionEnd::Service(name) => name.to_string(),
        ConnectionEnd::Address(address) => address.to_string(),
    }
}

fn effect_word(rule: &TierRule) -> &'static str {
    match rule.effective_action() {
        Action::Accept => "accepted",
        Action::Deny => "denied",
        Action::Pass => "passed to the next tier",
    }
}
