//! What adds nothing to something else.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::{
    compile::{contains, masked},
    model::{
        Direction, FieldPath, IpBlock, NetworkPolicy, ObjectName, Operator, Peer, Port, PortSpec,
        Requirement, Rule, Selector,
    },
};

use super::{
    Level, Report,
    context::{Context, Located, policy, rules_of},
};

/// Peers that another entry of the same policy already allows, at the same ports.
pub(super) fn peers(context: &Context<'_>, report: &mut Report) {
    for (name, object) in &context.snapshot.policies {
        for direction in [Direction::Ingress, Direction::Egress] {
            if !object.applies(direction) {
                continue;
            }
            let rules: Vec<_> = rules_of(name, object, direction).collect();
            let entries: Vec<Entry<'_>> = rules.iter().flat_map(Entry::of).collect();
            let wide = Wide::of(&entries);
            for (index, entry) in entries.iter().enumerate() {
                let others = wide.around(entry).into_iter().filter(|other| *other != index);
                let mut covering = others
                    .map(|at| (at, &entries[at]))
                    .filter(|(_, other)| other.covers(context, entry))
                    // Of two that say the same the first one stays.
                    .filter(|(at, other)| *at < index || !entry.covers(context, other));
                if let Some((_, other)) = covering.next() {
                    report.add(
                        entry.rule.at(entry.field()),
                        Level::Warning,
                        format!("adds nothing to {}", other.field()),
                        "remove it, or narrow the other one if that is wider than was meant",
                    );
                }
            }
        }
    }
}

/// The entries that may cover another one, to be found without asking all: lists of blocks are long.
struct Wide {
    blocks: BTreeMap<IpNetwork, Vec<usize>>,
    others: Vec<usize>,
}

impl Wide {
    fn of(entries: &[Entry<'_>]) -> Self {
        let mut wide = Self { blocks: BTreeMap::new(), others: Vec::new() };
        for (index, entry) in entries.iter().enumerate() {
            match entry.block() {
                Some(block) => wide.blocks.entry(masked(block.cidr)).or_default().push(index),
                None => wide.others.push(index),
            }
        }
        wide
    }

    /// Those around an entry, in their order.
    fn around(&self, entry: &Entry<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        if let Some(block) = entry.block() {
            let cidr = block.cidr;
            let all =
                (0..=cidr.prefix()).filter_map(|length| IpNetwork::new(cidr.ip(), length).ok());
            found.extend(all.filter_map(|around| self.blocks.get(&masked(around))).flatten());
            found.sort_unstable();
        }
        found
    }
}

/// A peer with the ports of its rule; `None` is everyone.
struct Entry<'a> {
    rule: &'a Located<'a>,
    peer: Option<(usize, &'a Peer)>,
}

impl<'a> Entry<'a> {
    fn of(rule: &'a Located<'a>) -> Vec<Self> {
        if rule.rule.peers.is_empty() {
            return vec![Self { rule, peer: None }];
        }
        let peers = rule.rule.peers.iter().enumerate();
        peers.map(|peer| Self { rule, peer: Some(peer) }).collect()
    }

    fn block(&self) -> Option<&'a IpBlock> {
        match self.peer {
            Some((_, Peer::Block(block))) => Some(block),
            Some((_, Peer::Pods { .. } | Peer::Invalid { .. })) | None => None,
        }
    }

    fn field(&self) -> FieldPath {
        self.peer.map_or_else(|| self.rule.field(), |(index, _)| self.rule.peer_field(index))
    }

    fn covers(&self, context: &Context<'_>, other: &Self) -> bool {
        let peers = match (self.peer, other.peer) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((_, wide)), Some((_, narrow))) => {
                peer_covers(context, &self.rule.name.namespace, wide, narrow)
            }
        };
        peers && ports_cover(&self.rule.rule.ports, &other.rule.rule.ports)
    }
}

fn peer_covers(context: &Context<'_>, own: &str, wide: &Peer, narrow: &Peer) -> bool {
    match (wide, narrow) {
        (
            Peer::Pods { namespaces: wide_in, pods: wide },
            Peer::Pods { namespaces: narrow_in, pods: narrow },
        ) => {
            let namespaces = match (wide_in, narrow_in) {
                (None, None) => true,
                (None, Some(_)) => false,
                (Some(wide), Some(narrow)) => asks_less(wide, narrow),
                (Some(wide), None) => wide.matches(&context.snapshot.namespace_labels(own)),
            };
            namespaces && asks_less(wide, narrow)
        }
        (Peer::Block(wide), Peer::Block(narrow)) => block_covers(wide, narrow),
        (Peer::Pods { .. } | Peer::Block(_) | Peer::Invalid { .. }, _) => false,
    }
}

/// Whether all that `narrow` matches is matched by `wide`, as far as their form tells.
pub(super) fn asks_less(wide: &Selector, narrow: &Selector) -> bool {
    wide.requirements.iter().all(|asked| {
        narrow.requirements.iter().any(|given| given.key == asked.key && implies(given, asked))
    })
}

/// Whether all labels of which one requirement on a key holds meet the other one, too.
fn implies(given: &Requirement, asked: &Requirement) -> bool {
    use Operator::{DoesNotExist, Exists, In, NotIn};
    match (&given.operator, &asked.operator) {
        (In(given), In(asked)) => given.is_subset(asked),
        (In(given), NotIn(asked)) => !given.iter().any(|value| asked.contains(value)),
        (NotIn(given), NotIn(asked)) => asked.is_subset(given),
        (In(_) | Exists, Exists) | (DoesNotExist, NotIn(_) | DoesNotExist) => true,
        (In(_), DoesNotExist)
        | (NotIn(_), In(_) | Exists | DoesNotExist)
        | (Exists, In(_) | NotIn(_) | DoesNotExist)
        | (DoesNotExist, In(_) | Exists) => false,
    }
}

fn block_covers(wide: &IpBlock, narrow: &IpBlock) -> bool {
    contains(wide.cidr, narrow.cidr)
        && wide.except.iter().all(|hole| {
            let apart = !contains(*hole, narrow.cidr) && !contains(narrow.cidr, *hole);
            apart || narrow.except.iter().any(|inner| contains(*inner, *hole))
        })
}

fn ports_cover(wide: &[Port], narrow: &[Port]) -> bool {
    if wide.is_empty() || narrow.is_empty() {
        return wide.is_empty();
    }
    narrow.iter().all(|narrow| wide.iter().any(|wide| port_covers(wide, narrow)))
}

fn port_covers(wide: &Port, narrow: &Port) -> bool {
    let numbers = match (&wide.port, &narrow.port) {
        (PortSpec::Every, _) => true,
        (PortSpec::Range { first, last }, PortSpec::Range { first: low, last: high }) => {
            first <= low && high <= last
        }
        (wide, narrow) => wide == narrow,
    };
    wide.protocol == narrow.protocol && numbers
}

/// Policies that say the same as another one of their namespace.
pub(super) fn equal(context: &Context<'_>, report: &mut Report) {
    let mut first: BTreeMap<_, &ObjectName> = BTreeMap::new();
    for (name, object) in &context.snapshot.policies {
        let Some(twin) = first.get(&(&name.namespace, essence(object))) else {
            first.insert((&name.namespace, essence(object)), name);
            continue;
        };
        report.add(
            policy(name, FieldPath::root()),
            Level::Warning,
            format!("says the same as {twin}"),
            "remove one of them; policies only add up",
        );
    }
}

/// What a policy means, whatever the order of its parts.
fn essence(policy: &NetworkPolicy) -> (Option<&Selector>, [Option<BTreeSet<Essence<'_>>>; 2]) {
    let rules = [Direction::Ingress, Direction::Egress].map(|direction| {
        policy
            .applies(direction)
            .then(|| policy.rules(direction).iter().map(essence_of_rule).collect())
    });
    (policy.subject.as_ref(), rules)
}

type Essence<'a> = (BTreeSet<&'a Peer>, BTreeSet<&'a Port>);

fn essence_of_rule(rule: &Rule) -> Essence<'_> {
    (rule.peers.iter().collect(), rule.ports.iter().collect())
}
