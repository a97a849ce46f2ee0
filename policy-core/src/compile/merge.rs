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
    subject::Subject,
};

/// So many different lists are left apart: each then keeps its identities when another changes.
const APART: usize = 32;

/// A rule: its policy, and its index there.
type At = (usize, usize);

/// What rules must have in common to be joined: subjects and ports.
type Outcome<'a> = (&'a [usize], &'a RulePorts);

/// Joins the lists of blocks of rules that have the same subjects, direction and ports.
pub(super) fn blocks(policies: &mut [CompiledPolicy], subjects: &[Subject<'_>]) {
    for direction in [Direction::Ingress, Direction::Egress] {
        let joined = joined(policies, subjects, direction);
        for (list, rules) in joined {
            for (policy, rule) in rules {
                policies[policy].rules_mut(direction)[rule].joined = Some(list.clone());
            }
        }
    }
}

fn joined(
    policies: &[CompiledPolicy],
    subjects: &[Subject<'_>],
    direction: Direction,
) -> Vec<(PeerList, Vec<At>)> {
    let lists = |policy: usize| {
        let policy = &policies[policy];
        let ordered = policy.stage != Stage::NetworkPolicy;
        let rules = policy.rules(direction).iter().enumerate();
        rules.filter(move |_| !ordered).filter_map(|(index, rule)| {
            let list = rule.peers.as_ref()?;
            list.is_blocks().then_some((index, list, &rule.ports))
        })
    };
    if (0..policies.len()).flat_map(lists).nth(APART).is_none() {
        return Vec::new();
    }
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
        (PeerList::new(keys, false), rules.into_iter().map(|(at, _)| at).collect())
    })
    .collect()
}

/// For each policy the subjects that it isolates in a direction.
fn selected(policies: usize, subjects: &[Subject<'_>], direction: Direction) -> Vec<Vec<usize>> {
    let mut selected = vec![Vec::new(); policies];
    for (index, subject) in subjects.iter().enumerate() {
        let by = match direction {
            Direction::Ingress => &subject.ingress,
            Direction::Egress => &subject.egress,
        };
        for &policy in by {
            selected[policy].push(index);
        }
    }
    selected
}
