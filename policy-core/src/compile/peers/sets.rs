//! Interned sets of peer lists: equal sets have equal ids, so that comparing them costs nothing.
//!
//! Each address has a set; the stage of identities compares sets only by id:
//!
//! ```text
//! intern [2, 1]           -> set 1       sorted: {1, 2}
//! intern [1, 2]           -> set 1       the same set has the same id
//! union(set 1, {3})       -> set 3       {1, 2, 3}; the result is remembered by the two ids
//! ```

use std::{collections::HashMap, sync::Arc};

use crate::compile::{
    registry::{Id, Registry},
    rules::lists::ListId,
};

/// Id of an interned set of peer lists.
pub(crate) type ListSetId = Id<Arc<[ListId]>>;

/// The set without lists.
pub(crate) const EMPTY: ListSetId = ListSetId::FIRST;

/// Sets of peer lists. None is ever released: the compiler starts from scratch when there are too
/// many.
#[derive(Clone, Debug)]
pub(crate) struct ListSets {
    sets: Registry<Arc<[ListId]>, ()>,
    unions: HashMap<(ListSetId, ListSetId), ListSetId>,
}

impl Default for ListSets {
    fn default() -> Self {
        let mut sets = Registry::default();
        let empty = sets.insert(Arc::default(), ());
        debug_assert_eq!(empty, EMPTY);
        Self { sets, unions: HashMap::new() }
    }
}

impl ListSets {
    /// The id of a set, given in any order.
    pub(super) fn intern(&mut self, mut set: Vec<ListId>) -> ListSetId {
        set.sort_unstable();
        set.dedup();
        self.sets.id(set.as_slice()).unwrap_or_else(|| self.sets.insert(set.into(), ()))
    }

    /// The lists of a set, sorted.
    pub(crate) fn get(&self, id: ListSetId) -> &[ListId] {
        self.sets.key(id).map(|set| &**set).unwrap_or_default()
    }

    /// The same, in the memory that all share who have the set.
    pub(crate) fn shared(&self, id: ListSetId) -> Arc<[ListId]> {
        self.sets.key(id).cloned().unwrap_or_default()
    }

    /// Forgets which sets are new: no later stage asks for it.
    pub(super) fn drop_delta(&mut self) {
        self.sets.take_delta();
    }

    /// How many sets and unions are kept, in use or not.
    pub(super) fn len(&self) -> usize {
        self.sets.len() + self.unions.len()
    }

    /// Whether no invariant was found broken.
    pub(super) fn is_sound(&self) -> bool {
        self.sets.is_sound()
    }

    /// The lists that are in either set.
    pub(super) fn union(&mut self, a: ListSetId, b: ListSetId) -> ListSetId {
        if a == b || b == EMPTY {
            return a;
        }
        if a == EMPTY {
            return b;
        }
        // A cluster has many addresses and few pairs: 1,000 pods of a group inside one block are one.
        if let Some(&id) = self.unions.get(&(a, b)) {
            return id;
        }
        let id = self.intern([self.get(a), self.get(b)].concat());
        self.unions.insert((a, b), id);
        id
    }

    /// The lists that are in both sets. Not remembered: only addresses of several pods need it.
    pub(super) fn intersection(&mut self, a: ListSetId, b: ListSetId) -> ListSetId {
        let other = self.get(b);
        let both =
            self.get(a).iter().copied().filter(|id| other.binary_search(id).is_ok()).collect();
        self.intern(both)
    }
}
