//! Ids of identities: which identity keeps its id, and which gets a fresh one.
//!
//! Input: the desired identities, the changes of the look-up tables, and the allow maps before and
//! after at each endpoint that stays isolated. Output: an [`IdentityIds`] with the id of each
//! desired identity.
//!
//! An id stays with its key as long as that is safe. While a plan is carried out, an address is
//! looked up under its old id first and under its new id later, in allow maps of several versions.
//! So an id must not both gain or lose an address and change its ports:
//!
//! ```text
//! old: 10.0.0.2 is 1; allow map {1: 80}
//! new: 10.0.0.2 and 10.0.0.3 share that identity; allow map {it: 443}
//!      With id 1 for it, 10.0.0.3 would reach port 80 until the allow map is switched: neither old
//!      nor new. So it gets the fresh id 2, and 1 keeps its old ports until no address has it.
//! ```

use std::collections::{BTreeMap, BTreeSet};

use policy_common::allow::DEFAULT_IDENTITY;

use crate::{desired::IdentityKey, model::Direction};

use super::{
    actual::Actual,
    entry::{Entries, limit_of, ports_of},
    indexed::{IdentityIndex, Indexed},
    tables::TableChanges,
};

/// The allow map of an isolated endpoint in one direction, before and after.
pub(super) struct AllowMapChange<'a> {
    /// Entries by the old ids.
    pub(super) old: &'a Entries,
    /// Entries by [`IdentityIndex`], which stands for the new ids.
    pub(super) new: &'a Entries,
    /// Its direction; frontends are looked up for egress only.
    pub(super) direction: Direction,
}

/// The ids of the desired identities.
pub(super) struct IdentityIds {
    /// By [`IdentityIndex`], less one.
    assigned: Vec<u32>,
    /// Ids that this plan gives out.
    pub(super) fresh: BTreeSet<u32>,
    /// Whether addresses may move to identity 0 only after the endpoints have their new allow maps:
    /// the ports of 0 change, and it cannot get a fresh id.
    pub(super) default_moves_last: bool,
}

impl IdentityIds {
    /// Gives every identity an id: its old one where that is safe.
    ///
    /// # Panics
    ///
    /// When 2^32 ids are in use: an id of two identities could open a port.
    pub(super) fn assign(
        actual: &Actual,
        desired: &Indexed<'_>,
        tables: &TableChanges,
        allow_maps: &[AllowMapChange<'_>],
    ) -> Self {
        // A key without any use in a map has no id to keep: its number may be given out again.
        let used = actual.used_ids();
        let known = actual.identity_keys.iter().filter(|(id, _)| used.contains(id));
        let known: BTreeMap<&IdentityKey, u32> = known.map(|(id, key)| (key, *id)).collect();
        let mut kept: Vec<Option<u32>> =
            desired.identities.iter().map(|key| known.get(*key).copied()).collect();
        // An id that nothing moves to or from may change its ports: every address has it before and
        // after. One that changes no ports may be moved to. Only both together are not safe.
        let moved = MovedIds::of(tables, &kept);
        for (index, id) in (1..).zip(&mut kept) {
            let changes = |id| allow_maps.iter().any(|allow_map| allow_map.differs(id, index));
            if id.is_some_and(|id| moved.ids.contains(&id) && changes(id)) {
                *id = None;
            }
        }
        let default_changes = allow_maps
            .iter()
            .any(|allow_map| allow_map.differs(DEFAULT_IDENTITY, DEFAULT_IDENTITY));
        // A fresh id is one that no entry of any map has: an allow map in use would otherwise give
        // the ports of the old identity to the new one for as long as the plan runs.
        let mut free = (1..=u32::MAX).filter(|id| !used.contains(id));
        let mut fresh = BTreeSet::new();
        let mut next = || {
            let Some(id) = free.next() else { panic!("the ids of identities are spent") };
            fresh.insert(id);
            id
        };
        let assigned = kept.into_iter().map(|id| id.unwrap_or_else(&mut next)).collect();
        let default_moves_last = moved.to_default && default_changes;
        Self { assigned, fresh, default_moves_last }
    }

    /// The id of an identity.
    pub(super) fn of(&self, identity: IdentityIndex) -> u32 {
        let index = (identity as usize).checked_sub(1);
        let id = index.and_then(|index| self.assigned.get(index));
        id.copied().unwrap_or(DEFAULT_IDENTITY)
    }

    /// Every id with its key.
    pub(super) fn identity_keys<'a>(
        &'a self,
        desired: &'a Indexed<'_>,
    ) -> impl Iterator<Item = (u32, &'a IdentityKey)> + 'a {
        self.assigned.iter().copied().zip(desired.identities.iter().copied())
    }

    /// Every id of the desired state.
    pub(super) fn all(&self) -> BTreeSet<u32> {
        self.assigned.iter().copied().collect()
    }
}

impl AllowMapChange<'_> {
    /// Whether an id, if the identity keeps it, gets other ports or another refusal.
    fn differs(&self, id: u32, index: IdentityIndex) -> bool {
        ports_of(self.old, id) != ports_of(self.new, index)
            || self.direction == Direction::Egress
                && limit_of(self.old, id) != limit_of(self.new, index)
    }
}

/// Ids that gain or lose an address or frontend, if every known identity keeps its id.
///
/// ```text
/// 10.0.0.2: 1 -> a, which keeps 1      nothing moves
/// 10.0.0.3: 1 -> b, which keeps 2      1 loses an address, 2 gains one
/// 10.0.0.4: 1 -> c, which is new       1 loses an address
/// 10.0.0.5: 1 -> nothing matches it    1 loses an address, and one moves to identity 0
/// ```
#[derive(Default)]
struct MovedIds {
    ids: BTreeSet<u32>,
    /// Whether something moves to identity 0.
    to_default: bool,
}

impl MovedIds {
    fn of(tables: &TableChanges, kept: &[Option<u32>]) -> Self {
        let mut moved = Self::default();
        for (old, new) in tables.identities() {
            let new = new.map(|identity| match (identity as usize).checked_sub(1) {
                Some(index) => kept.get(index).copied().flatten(),
                None => Some(DEFAULT_IDENTITY),
            });
            // `new` is `None` for a frontend that goes, `Some(None)` for an identity without an id
            // yet: both differ from every old id, so that the key counts as moved.
            if old.map(Some) == new {
                continue;
            }
            moved.to_default |= new == Some(Some(DEFAULT_IDENTITY));
            moved.ids.extend(old);
            moved.ids.extend(new.flatten());
        }
        moved
    }
}
