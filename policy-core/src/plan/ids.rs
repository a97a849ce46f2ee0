//! Numbers of identities: those that stay, and those that are new.
//!
//! A number stays with its meaning as long as that is safe. While a plan is carried out an
//! address is looked up under its old number first and under its new one later, so that a
//! number whose outcome changes must not be both: its meaning gets a fresh one then.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::allow::DEFAULT_IDENTITY;

use crate::desired::Meaning;

use super::{
    Actual,
    entry::{Entries, ports_of, refusal_of},
    indexed::{IdentityIndex, Indexed},
    moves::Moves,
};

/// What an isolated endpoint has in one direction, before and after.
pub(super) struct Change<'a> {
    /// Entries by the old numbers.
    pub(super) old: &'a Entries,
    /// Entries by index, which stands for the new numbers.
    pub(super) new: &'a Entries,
    /// Whether frontends are looked up.
    pub(super) egress: bool,
}

/// The numbers of a desired state.
pub(super) struct Numbers {
    /// By index, less one.
    assigned: Vec<u32>,
    /// Numbers given out by this plan.
    pub(super) fresh: BTreeSet<u32>,
    /// Whether addresses may get the number 0 only after the endpoints have their new contents.
    pub(super) default_last: bool,
}

impl Numbers {
    /// Gives every identity a number: its old one where that is safe.
    pub(super) fn assign(
        actual: &Actual,
        desired: &Indexed<'_>,
        moves: &Moves,
        changes: &[Change<'_>],
    ) -> Self {
        let used = actual.used_numbers();
        let known = actual.meanings.iter().filter(|(number, _)| used.contains(number));
        let known: BTreeMap<&Meaning, u32> = known.map(|(n, meaning)| (meaning, *n)).collect();
        let mut kept: Vec<Option<u32>> =
            desired.identities.iter().map(|meaning| known.get(*meaning).copied()).collect();
        let touched = Moved::of(moves, &kept);
        for (index, number) in (1..).zip(&mut kept) {
            let changes = |number| changes.iter().any(|change| change.differs(number, index));
            if number.is_some_and(|number| touched.numbers.contains(&number) && changes(number)) {
                *number = None;
            }
        }
        let default_changes =
            changes.iter().any(|change| change.differs(DEFAULT_IDENTITY, DEFAULT_IDENTITY));
        let mut free = (1..).filter(|number| !used.contains(number));
        let mut fresh = BTreeSet::new();
        let mut next = || {
            let number = free.next().unwrap_or(u32::MAX);
            fresh.insert(number);
            number
        };
        let assigned = kept.into_iter().map(|number| number.unwrap_or_else(&mut next)).collect();
        Self { assigned, fresh, default_last: touched.to_default && default_changes }
    }

    /// The number of an identity.
    pub(super) fn of(&self, identity: IdentityIndex) -> u32 {
        let index = (identity as usize).checked_sub(1);
        let number = index.and_then(|index| self.assigned.get(index));
        number.copied().unwrap_or(DEFAULT_IDENTITY)
    }

    /// Every number with its meaning.
    pub(super) fn meanings<'a>(
        &'a self,
        desired: &'a Indexed<'_>,
    ) -> impl Iterator<Item = (u32, &'a Meaning)> + 'a {
        self.assigned.iter().copied().zip(desired.identities.iter().copied())
    }

    /// Whether the desired state has a number.
    pub(super) fn all(&self) -> BTreeSet<u32> {
        self.assigned.iter().copied().collect()
    }
}

impl Change<'_> {
    /// Whether a number that stays gets another outcome.
    fn differs(&self, number: u32, index: IdentityIndex) -> bool {
        ports_of(self.old, number) != ports_of(self.new, index)
            || self.egress && refusal_of(self.old, number) != refusal_of(self.new, index)
    }
}

/// Numbers that something moves to or away from, were they kept.
#[derive(Default)]
struct Moved {
    numbers: BTreeSet<u32>,
    to_default: bool,
}

impl Moved {
    fn of(moves: &Moves, kept: &[Option<u32>]) -> Self {
        let mut touched = Self::default();
        for (old, new) in moves.pairs() {
            let new = new.map(|identity| match (identity as usize).checked_sub(1) {
                Some(index) => kept.get(index).copied().flatten(),
                None => Some(DEFAULT_IDENTITY),
            });
            if old.map(Some) == new {
                continue;
            }
            touched.to_default |= new == Some(Some(DEFAULT_IDENTITY));
            touched.numbers.extend(old);
            touched.numbers.extend(new.flatten());
        }
        touched
    }
}
