//! A map from a key to a set of ids: which entries depend on it.

use std::collections::{BTreeMap, BTreeSet};

/// Ids by key. A key without ids takes no memory.
#[derive(Clone, Debug)]
pub(crate) struct Index<K, I>(BTreeMap<K, BTreeSet<I>>);

impl<K: Ord, I: Ord + Copy> Index<K, I> {
    /// Adds an id to a key.
    pub(crate) fn insert(&mut self, key: K, id: I) {
        self.0.entry(key).or_default().insert(id);
    }

    /// Removes an id from a key.
    pub(crate) fn remove(&mut self, key: &K, id: I) {
        let Some(ids) = self.0.get_mut(key) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.0.remove(key);
        }
    }

    /// The ids of a key, in order.
    pub(crate) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = I> + use<'a, K, I> {
        self.0.get(key).into_iter().flatten().copied()
    }

    /// Every key with its ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &BTreeSet<I>)> {
        self.0.iter()
    }

    /// Whether no key has an id.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, I> Default for Index<K, I> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}
