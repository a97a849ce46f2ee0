//! NP004 and NP016: entries and policies that add nothing, because others already allow the same.
//!
//! Rules only add up, so an entry is redundant where one other entry of the policy covers it: the
//! other peer matches at least the same far ends, and its rule allows at least the same ports. Only
//! the form of two entries is compared (module [`covers`]), so what two entries cover together is
//! not found, but what is found holds in every cluster. A worked example, with the ingress rules of
//! one policy:
//!
//! ```text
//! [0] from: 10.0.0.0/8                         ports: 80-90
//! [1] from: 10.1.0.0/16 except 10.1.2.0/24     ports: 80      covered by [0]
//! [2] from: 10.2.0.0/16                        ports: 443     not covered: [0] lacks port 443
//! [3] from: podSelector app In (a)             ports: all
//! [4] from: podSelector app In (a), tier In (b)               covered by [3], which requires less
//! ```
//!
//! Of two entries that cover each other, which are equal in effect, the first stays.

pub(super) mod covers;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    desired::Prefixes,
    model::{
        Direction, FieldPath, IpBlock, NetworkPolicy, ObjectName, Peer, PerDirection, Port, Rule,
        Selector,
    },
};

use super::{
    context::{Context, LocatedRule, policy_field, rules_of},
    finding::{Fix, Level, Report},
};

/// NP004: peers that another entry of the same policy already allows, at the same ports.
pub(super) fn peers(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in &context.snapshot.policies {
        for direction in Direction::BOTH.into_iter().filter(|direction| policy.applies(*direction))
        {
            let rules: Vec<_> = rules_of(name, policy, direction).collect();
            let entries: Vec<PeerEntry<'_>> = rules.iter().flat_map(PeerEntry::of).collect();
            let candidates = CoveringEntries::of(&entries);
            for (index, entry) in entries.iter().enumerate() {
                let others = candidates.around(entry).into_iter().filter(|other| *other != index);
                let mut covering = others
                    .map(|other| (other, &entries[other]))
                    .filter(|(_, other)| other.covers(context, entry))
                    .filter(|(at, other)| *at < index || !entry.covers(context, other));
                if let Some((_, other)) = covering.next() {
                    report.add(
                        entry.rule.at(entry.path()),
                        Level::Warning,
                        format!("adds nothing to {}", other.path()),
                        "remove it, or narrow the other one if that is wider than you mean",
                    );
                    report.fix_last(Fix::RemoveEntry);
                }
            }
        }
    }
}

/// A peer and the rule that it is in; without a peer a rule that is for everyone.
struct PeerEntry<'a> {
    rule: &'a LocatedRule<'a>,
    peer: Option<(usize, &'a Peer)>,
}

impl<'a> PeerEntry<'a> {
    /// The entries of a rule.
    fn of(rule: &'a LocatedRule<'a>) -> Vec<Self> {
        if rule.rule.peers.is_empty() {
            return vec![Self { rule, peer: None }];
        }
        let peers = rule.rule.peers.iter().enumerate();
        peers.map(|peer| Self { rule, peer: Some(peer) }).collect()
    }

    fn block(&self) -> Option<&'a IpBlock> {
        match self.peer {
            Some((_, Peer::Block(block))) => Some(block),
            Some((_, Peer::Pods { .. })) | None => None,
        }
    }

    fn path(&self) -> FieldPath {
        self.peer.map_or_else(|| self.rule.path(), |(index, _)| self.rule.peer_path(index))
    }

    /// Whether it allows everything that another entry of the policy allows.
    fn covers(&self, context: &Context<'_>, other: &Self) -> bool {
        let own = &self.rule.name.namespace;
        let peers = match (self.peer, other.peer) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((_, wide)), Some((_, narrow))) => {
                covers::peer(&context.snapshot.namespace_labels(own), wide, narrow)
            }
        };
        peers && covers::ports(&self.rule.rule.ports, &other.rule.rule.ports)
    }
}

/// The entries that can cover another one, by their indices.
///
/// Lists of blocks are long, and comparing each with each takes minutes; but only a block around
/// another can cover it.
struct CoveringEntries {
    blocks: Prefixes<Vec<usize>>,
    others: Vec<usize>,
}

impl CoveringEntries {
    fn of(entries: &[PeerEntry<'_>]) -> Self {
        let mut candidates = Self { blocks: Prefixes::new(), others: Vec::new() };
        for (index, entry) in entries.iter().enumerate() {
            match entry.block() {
                Some(block) => candidates.blocks.entry(block.cidr).or_default().push(index),
                None => candidates.others.push(index),
            }
        }
        candidates
    }

    /// Those that can cover an entry, in order. For 10.1.0.0/16 these are the blocks around it,
    /// such as 10.0.0.0/8, itself, and every entry that is not a block.
    fn around(&self, entry: &PeerEntry<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        if let Some(block) = entry.block() {
            found.extend(self.blocks.cover_values(&block.cidr).flatten());
            found.sort_unstable();
        }
        found
    }
}

/// NP016: policies that allow the same to the same pods as another one of their namespace.
pub(super) fn policies(context: &Context<'_>, report: &mut Report) {
    let mut first: BTreeMap<(&String, PolicyMeaning<'_>), &ObjectName> = BTreeMap::new();
    for (name, policy) in &context.snapshot.policies {
        let twin = *first.entry((&name.namespace, PolicyMeaning::of(policy))).or_insert(name);
        if twin != name {
            report.add(
                policy_field(name, FieldPath::root()),
                Level::Warning,
                format!("means the same as {twin}"),
                "remove one of them; policies only add up",
            );
            report.fix_last(Fix::RemovePolicy);
        }
    }
}

/// Whether two policies of a namespace mean the same.
pub(super) fn is_twin(one: &NetworkPolicy, other: &NetworkPolicy) -> bool {
    PolicyMeaning::of(one) == PolicyMeaning::of(other)
}

/// What a policy means, whatever the order of its rules, peers and ports.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PolicyMeaning<'a> {
    subject: Option<&'a Selector>,
    /// `None` where the policy leaves the direction alone.
    rules: PerDirection<Option<BTreeSet<RuleMeaning<'a>>>>,
}

type RuleMeaning<'a> = (BTreeSet<&'a Peer>, BTreeSet<&'a Port>);

impl<'a> PolicyMeaning<'a> {
    fn of(policy: &'a NetworkPolicy) -> Self {
        let rule = |rule: &'a Rule| (rule.peers.iter().collect(), rule.ports.iter().collect());
        let rules = PerDirection::from_fn(|direction| {
            policy.applies(direction).then(|| policy.rules(direction).iter().map(rule).collect())
        });
        Self { subject: policy.subject.as_ref(), rules }
    }
}
