//! Interned sets of peer lists.

use std::{collections::HashMap, sync::Arc};

use crate::compile::peers::lists::ListId;

/// Number of an interned set of peer lists; 0 is the empty one.
pub(crate) type SetId = u32;

/// Sets of peer lists. What it hands out depends on the order of questions only.
#[derive(Clone, Debug)]
pub(crate) struct Sets {
    distinct: Vec<Arc<[ListId]>>,
    index: HashMap<Arc<[ListId]>, SetId>,
    unions: HashMap<(SetId, SetId), SetId>,
}

impl Default for Sets {
    fn default() -> Self {
        let empty: Arc<[ListId]> = Arc::default();
        let index = HashMap::from([(Arc::clone(&empty), 0)]);
        Self { distinct: vec![empty], index, unions: HashMap::new() }
    }
}

impl Sets {
    /// The number of a set.
    pub(crate) fn intern(&mut self, mut set: Vec<ListId>) -> SetId {
        set.sort_unstable();
        set.dedup();
        if let Some(&id) = self.index.get(set.as_slice()) {
            return id;
        }
        let id = SetId::try_from(self.distinct.len()).unwrap_or(SetId::MAX);
        let set: Arc<[ListId]> = set.into();
        self.distinct.push(Arc::clone(&set));
        self.index.insert(set, id);
        id
    }

    /// The lists of a set, sorted.
    pub(crate) fn get(&self, id: SetId) -> &Arc<[ListId]> {
        &self.distinct[id as usize]
    }

    /// How many there are, in use or not.
    pub(crate) fn len(&self) -> usize {
        self.distinct.len() + self.unions.len()
    }

    /// What is in either.
    pub(crate) fn union(&mut self, a: SetId, b: SetId) -> SetId {
        if a == b || b == 0 {
            return a;
        }
        if a == 0 {
            return b;
        }
        if let Some(&id) = self.unions.get(&(a, b)) {
            return id;
        }
        let id = self.intern([&self.get(a)[..], &self.get(b)[..]].concat());
        self.unions.insert((a, b), id);
        id
    }

    /// What is in both.
    pub(crate) fn intersection(&mut self, a: SetId, b: SetId) -> SetId {
        let other = self.get(b);
        let both = self.get(a).iter().copied().filter(|id| other.binary_search(id).is_ok());
        let both = both.collect();
        self.intern(both)
    }
}
