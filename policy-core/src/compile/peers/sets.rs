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

use crate::compile::rules::lists::ListId;

/// Id of an interned set of peer lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListSetId(u32);

/// The set without lists.
pub(crate) const EMPTY: ListSetId = ListSetId(0);

/// Sets of peer lists. They are never removed: the compiler starts from scratch when there are
/// too many.
#[derive(Clone, Debug)]
pub(crate) struct ListSets {
    interned: Vec<Arc<[ListId]>>,
    index: HashMap<Arc<[ListId]>, ListSetId>,
    unions: HashMap<(ListSetId, ListSetId), ListSetId>,
}

impl Default for ListSets {
    fn default() -> Self {
        let empty: Arc<[ListId]> = Arc::default();
        let index = HashMap::from([(Arc::clone(&empty), EMPTY)]);
        Self { interned: vec![empty], index, unions: HashMap::new() }
    }
}

impl ListSets {
    /// The id of a set, given in any order.
    ///
    /// # Panics
    ///
    /// When 2^32 ids are spent: an id of two sets could open a port.
    pub(super) fn intern(&mut self, mut set: Vec<ListId>) -> ListSetId {
        set.sort_unstable();
        set.dedup();
        if let Some(&id) = self.index.get(set.as_slice()) {
            return id;
        }
        let Ok(id) = u32::try_from(self.interned.len()) else {
            panic!("the ids of sets are spent")
        };
        let (id, set): (_, Arc<[ListId]>) = (ListSetId(id), set.into());
        self.interned.push(Arc::clone(&set));
        self.index.insert(set, id);
        id
    }

    /// The lists of a set, sorted.
    pub(crate) fn get(&self, id: ListSetId) -> &Arc<[ListId]> {
        &self.interned[id.0 as usize]
    }

    /// How many sets and unions are kept, in use or not.
    pub(super) fn len(&self) -> usize {
        self.interned.len() + self.unions.len()
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
        let id = self.intern([&self.get(a)[..], &self.get(b)[..]].concat());
        self.unions.insert((a, b), id);
        id
    }

    /// The lists that are in both sets. Not remembered: only addresses of several pods need it.
    pub(super) fn intersection(&mut self, a: ListSetId, b: ListSetId) -> ListSetId {
        let other = self.get(b);
        let both = self.get(a).iter().copied().filter(|id| other.binary_search(id).is_ok());
        let both = both.collect();
        self.intern(both)
    }
}
