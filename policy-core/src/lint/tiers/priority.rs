//! Policies of one priority that contradict one another.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::{
    explain::{ConnectionEnd, Question, RuleOutcome, Side, TierRule, sides},
    model::{
        Action, ClusterNetworkPolicy, ClusterPeer, Direction, Family, FieldPath, ObjectName, Pod,
        Protocol, ProtocolMatch, Snapshot,
    },
};

use super::{
    super::{Level, Report, context::Context},
    BOTH, policies, policy, subjects,
};

/// Two policies of one tier and priority, asked in an order that the API leaves open.
struct Pair<'a> {
    first: (&'a str, &'a ClusterNetworkPolicy),
    second: (&'a str, &'a ClusterNetworkPolicy),
}

/// Pairs of which a connection gets one verdict or another, as the order may be.
///
/// Tried are connections of a pod that both select with every kind of pod, at the ports that the
/// rules tell apart.
pub(in super::super) fn check(context: &Context<'_>, report: &mut Report) {
    let all: Vec<_> = policies(context).collect();
    // Only the tiers are asked.
    let bare = || Snapshot { policies: BTreeMap::new(), ..context.snapshot.clone() };
    let mut tiers = None;
    for (index, &second) in all.iter().enumerate() {
        let rank = |(_, policy): (&str, &ClusterNetworkPolicy)| (policy.tier, policy.priority);
        for &first in all[..index].iter().filter(|first| rank(**first) == rank(second)) {
            let pair = Pair { first, second };
            if !pair.may_differ() {
                continue;
            }
            let tiers = tiers.get_or_insert_with(bare);
            let found = BOTH
                .into_iter()
                .find_map(|direction| pair.contradiction(context, tiers, direction));
            if let Some(message) = found {
                let subject = policy(second.0, FieldPath::spec("priority"));
                report.add(subject, Level::Warning, message, "give them different priorities");
            }
        }
    }
}

impl Pair<'_> {
    /// Whether their actions differ at all.
    fn may_differ(&self) -> bool {
        BOTH.into_iter().any(|direction| {
            let actions = |policy: &ClusterNetworkPolicy| -> BTreeSet<Action> {
                policy.rules(direction).iter().map(|rule| rule.action).collect()
            };
            let (first, second) = (actions(self.first.1), actions(self.second.1));
            !first.is_empty() && !second.is_empty() && (&first | &second).len() > 1
        })
    }

    /// A connection on which they contradict one another, in words.
    fn contradiction(
        &self,
        context: &Context<'_>,
        tiers: &Snapshot,
        direction: Direction,
    ) -> Option<String> {
        let others = subjects(context, self.second.1);
        let both = subjects(context, self.first.1);
        let mut both = both.into_iter().filter(|one| others.contains(one));
        let subject = ConnectionEnd::Pod(both.next()?.0.clone());
        let ports = self.ports(context, direction);
        let mut remotes: Vec<ConnectionEnd> =
            kinds(context).into_iter().map(|name| ConnectionEnd::Pod(name.clone())).collect();
        remotes.extend(self.addresses(context, direction));
        for remote in &remotes {
            for &(protocol, port) in &ports {
                for family in [Family::Ipv4, Family::Ipv6] {
                    let (from, to) = match direction {
                        Direction::Ingress => (remote.clone(), subject.clone()),
                        Direction::Egress => (subject.clone(), remote.clone()),
                    };
                    let question = Question { from, to, family, protocol, port };
                    let sides = sides(tiers, &question);
                    let mut here = sides.iter().filter(|side| side.direction == direction);
                    if let Some((first, second)) = here.find_map(|side| self.differ(side)) {
                        let (from, to) = (told(&question.from), told(&question.to));
                        let other = self.first.0;
                        return Some(format!(
                            "{other} has the same priority and contradicts: {from} -> {to} {port}/{protocol} is {second} here and {first} there, \
                             and which is asked first is left open"
                        ));
                    }
                }
            }
        }
        None
    }

    /// The first words of both on one connection, where they differ and the turn comes to them.
    fn differ(&self, side: &Side) -> Option<(&'static str, &'static str)> {
        let word =
            |name: &str| side.tiers.iter().find(|rule| rule.policy == name && rule.matches());
        let (first, second) = (word(self.first.0)?, word(self.second.0)?);
        let asked = |rule: &TierRule| {
            matches!(rule.outcome, RuleOutcome::Decides | RuleOutcome::LeavesTier)
        };
        let differ = first.effective_action() != second.effective_action()
            && (asked(first) || asked(second));
        differ.then(|| (action(first), action(second)))
    }

    /// Ports at the edges of all ranges, those that pods declare where names are used, and one of
    /// each protocol that no rule names.
    fn ports(&self, context: &Context<'_>, direction: Direction) -> BTreeSet<(Protocol, u16)> {
        let mut ports = BTreeSet::new();
        let rules = [self.first, self.second].into_iter().flat_map(|one| one.1.rules(direction));
        for entry in rules.flat_map(|rule| &rule.protocols) {
            match entry {
                ProtocolMatch::Range { protocol, first, last } => {
                    ports.extend([(*protocol, *first), (*protocol, *last)]);
                }
                ProtocolMatch::Named(name) => {
                    let all = context.snapshot.pods.values().flat_map(|pod| &pod.ports);
                    let named = all.filter(|port| port.name.as_ref() == Some(name));
                    ports.extend(named.map(|port| (port.protocol, port.port)));
                }
                ProtocolMatch::Unknown { .. } => {}
            }
        }
        for protocol in Protocol::ALL {
            let free = (1..=u16::MAX).rev().find(|port| !ports.contains(&(protocol, *port)));
            ports.extend(free.map(|port| (protocol, port)));
        }
        ports
    }

    /// The first address of each network, and addresses of nodes.
    fn addresses(&self, context: &Context<'_>, direction: Direction) -> Vec<ConnectionEnd> {
        let rules = [self.first, self.second].into_iter().flat_map(|one| one.1.rules(direction));
        let peers = rules.flat_map(|rule| &rule.peers);
        let networks = peers.filter_map(|peer| match peer {
            ClusterPeer::Networks(networks) => Some(networks),
            ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown { .. } => None,
        });
        let nodes = context.snapshot.nodes.values().flat_map(|node| &node.addresses).copied();
        let first = networks.flatten().map(IpNetwork::network);
        first.chain(nodes).map(ConnectionEnd::Address).collect()
    }
}

/// One pod of each namespace and set of lasting labels.
fn kinds<'a>(context: &Context<'a>) -> Vec<&'a ObjectName> {
    let pods = context.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
    let kind = |name: &'a ObjectName, pod: &Pod| (&name.namespace, pod.lasting_labels());
    let kinds: BTreeMap<_, _> = pods.map(|(name, pod)| (kind(name, pod), name)).collect();
    kinds.into_values().collect()
}

fn told(party: &ConnectionEnd) -> String {
    match party {
        ConnectionEnd::Pod(name) | ConnectionEnd::Service(name) => name.to_string(),
        ConnectionEnd::Address(address) => address.to_string(),
    }
}

fn action(rule: &TierRule) -> &'static str {
    match rule.effective_action() {
        Action::Accept => "accepted",
        Action::Deny => "denied",
        Action::Pass => "passed on",
    }
}
