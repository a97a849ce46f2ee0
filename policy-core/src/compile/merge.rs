//! Rules of blocks that come to the same are one, where there are many of them.
//!
//! An identity is the set of peer lists that match an address. Thousands of rules that each mean
//! every address but a few would make thousands of identities of thousands of lists each,
//! though all that counts is what the rules allow together.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Direction;

use super::{
    meaning::{PeerKey, PeerList},
    rule::{CompiledPolicy, RulePorts, Stage},
    subject::DIRECTIONS,
};

/// So many different lists are left apart: each then keeps its identities when another changes.
const APART: usize = 32;

/// A rule: its policy, and its index there.
type At = (usize, usize);

/// What rules must have in common to be joined: subjects and ports.
type Outcome<'a> = (&'a [usize], &'a RulePorts);

/// Joins the lists of blocks of rules that have the same subjects, direction and ports.
///
/// `subjects` are the policies that select each subject, for ingress and egress.
pub(super) fn blocks(policies: &mut [CompiledPolicy], subjects: &[[Vec<usize>; 2]]) {
    for direction in DIRECTIONS {
        let joined = joined(policies, subjects, direction);
        for policy in &mut *policies {
            policy.rules_mut(direction).iter_mut().for_each(|rule| rule.joined = None);
        }
        for (list, rules) in joined {
            for (policy, rule) in rules {
                policies[policy].rules_mut(direction)[rule].joined = Some(list.clone());
            }
        }
    }
}

/// Whether rules are joined, or may have to be.
pub(super) fn is_needed(policies: &[&CompiledPolicy]) -> bool {
    DIRECTIONS.into_iter().any(|direction| {
        let rules = policies.iter().flat_map(|policy| policy.rules(direction));
        rules.clone().any(|rule| rule.joined.is_some())
            || policies.iter().flat_map(|policy| lists(policy, direction)).nth(APART).is_some()
    })
}

/// The rules that can be joined: those of blocks, without an order.
fn lists(
    policy: &CompiledPolicy,
    direction: Direction,
) -> impl Iterator<Item = (usize, &PeerList, &RulePorts)> {
    let ordered = policy.stage != Stage::NetworkPolicy;
    let rules = policy.rules(direction).iter().enumerate();
    rules.filter(move |_| !ordered).filter_map(|(index, rule)| {
        let list = rule.peers.as_ref()?;
        list.is_blocks().then_some((index, list, &rule.ports))
    })
}

fn joined(
    policies: &[CompiledPolicy],
    subjects: &[[Vec<usize>; 2]],
    direction: Direction,
) -> Vec<(PeerList, Vec<At>)> {
    let lists = |policy: usize| lists(&policies[policy], direction);
    if (0..policies.len()).flat_map(lists).nth(APART).is_none() {
        return Vec::new();
    }
    let rules = policies.iter().flat_map(|policy| policy.rules(direction));
    let known: BTreeSet<PeerList> = rules.filter_map(|rule| rule.joined.clone()).collect();
    let selected = selected(policies.len(), subjects, direction);
    let mut groups: BTreeMap<Outcome<'_>, Vec<(At, &PeerList)>> = BTreeMap::new();
    for (policy, subjects) in selected.iter().enumerate() {
        for (rule, list, ports) in lists(policy) {
            groups.entry((subjects, ports)).or_default().push(((policy, rule), list));
        }
    }
    let many = groups.into_values().filter(|rules| {
        let distinct: BTreeSet<_> = rules.iter().map(|(_, list)| list).collect();
        distinct.len() > APART
    });
    many.map(|rules| {
        let keys: BTreeSet<PeerKey> =
            rules.iter().flat_map(|(_, list)| list.peers()).cloned().collect();
        let list = PeerList::new(keys, false);
        // What it is already compares at once.
        let list = known.get(&list).cloned().unwrap_or(list);
        (list, rules.into_iter().map(|(at, _)| at).collect())
    })
    .collect()
}

/// For each policy the subjects that it isolates in a direction.
fn selected(
    policies: usize,
    subjects: &[[Vec<usize>; 2]],
    direction: Direction,
) -> Vec<Vec<usize>> {
    let mut selected = vec![Vec::new(); policies];
    for (index, subject) in subjects.iter().enumerate() {
        let [ingress, egress] = subject;
        let by = match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        for &policy in by {
            selected[policy].push(index);
        }
    }
    selected
}
