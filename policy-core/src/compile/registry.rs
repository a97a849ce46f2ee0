//! A reference-counted store of distinct values, for every stage that shares what is equal.
//!
//! A stage acquires a key for each use and releases it when the use ends. Equal keys share one
//! entry and one id. The next stage takes the delta: entries that came into use or fell out of it
//! since the last delta, whatever happened in between. For example:
//!
//! ```text
//! acquire(a) -> 1   new entry, one use
//! acquire(a) -> 1   two uses
//! release(1)        one use
//! take_delta()      added: [1]
//! release(1)        no use: the entry stays readable until the next delta
//! acquire(a) -> 1   in use again, so that the next delta does not mention it
//! ```
//!
//! Ids depend on the order of changes and therefore never reach the compiler's result. They are
//! never given out twice: what still holds the id of a removed entry finds nothing, not another
//! entry. The compiler starts from scratch when too many ids are spent ([`Registry::spent`]).

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    num::NonZeroU32,
};

/// Id of an entry of a `Registry<K, _>`. The type of the key keeps ids of registries apart.
pub(crate) struct Id<K>(NonZeroU32, PhantomData<fn() -> K>);

/// Entries with a value for each distinct key in use.
#[derive(Clone, Debug)]
pub(crate) struct Registry<K, V> {
    /// By id, less one; `None` once the entry is removed.
    slots: Vec<Option<Entry<K, V>>>,
    index: BTreeMap<K, Id<K>>,
    /// Entries to report in the next delta, if their use changed, and whether they were in use
    /// at the last one.
    touched: BTreeMap<Id<K>, bool>,
    in_use: usize,
    is_sound: bool,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    uses: usize,
}

/// What changed in a registry since the last delta.
#[derive(Debug)]
pub(crate) struct Delta<K, V> {
    /// Entries that are in use now and were not before, in the order of ids.
    pub(crate) added: Vec<Id<K>>,
    /// Entries that were in use before and are no longer, with what they held.
    pub(crate) removed: Vec<Removed<K, V>>,
}

/// An entry that left a registry.
#[derive(Debug)]
pub(crate) struct Removed<K, V> {
    /// The id that it had.
    pub(crate) id: Id<K>,
    /// Its key.
    pub(crate) key: K,
    /// Its value.
    pub(crate) value: V,
}

impl<K: Ord + Clone, V> Registry<K, V> {
    /// The id of a key, for one more use, if the key has an entry.
    pub(crate) fn acquire(&mut self, key: &K) -> Option<Id<K>> {
        let id = *self.index.get(key)?;
        let Some(entry) = self.slots.get_mut(id.slot()).and_then(Option::as_mut) else {
            self.broken("the index names a removed entry");
            return None;
        };
        // An entry without uses has a mark in `touched`, by which the next delta finds that it is
        // in use again.
        entry.uses += 1;
        Some(id)
    }

    /// A new entry with one use, for a key that has none.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Id<K> {
        self.insert_used(key, value, 1)
    }

    fn insert_used(&mut self, key: K, value: V, uses: usize) -> Id<K> {
        let id = Id::after(self.slots.len());
        if self.index.insert(key.clone(), id).is_some() {
            self.broken("a key is inserted twice");
        }
        self.slots.push(Some(Entry { key, value, uses }));
        self.touched.insert(id, false);
        self.in_use += 1;
        id
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: Id<K>) {
        let entry = self.slots.get_mut(id.slot()).and_then(Option::as_mut);
        let Some(entry) = entry.filter(|entry| entry.uses > 0) else {
            self.broken("an entry is released that nobody uses");
            return;
        };
        entry.uses -= 1;
        if entry.uses == 0 {
            // A mark that is there already is of an entry that no delta has reported yet.
            self.touched.entry(id).or_insert(true);
        }
    }

    /// Makes the next use of a key get a new entry; who uses the old one keeps it.
    pub(crate) fn retire(&mut self, key: &K) {
        self.index.remove(key);
    }

    /// Gives all users of an entry a new entry in its place, with another value.
    ///
    /// The users must exchange the old id for the new one.
    pub(crate) fn replace(&mut self, id: Id<K>, value: V) -> Option<Id<K>> {
        let Some(entry) = self.slots.get_mut(id.slot()).and_then(Option::as_mut) else {
            self.broken("an entry is replaced that is not there");
            return None;
        };
        // Without uses, the old entry leaves with the next delta.
        let (key, uses) = (entry.key.clone(), std::mem::take(&mut entry.uses));
        self.touched.entry(id).or_insert(true);
        self.index.remove(&key);
        Some(self.insert_used(key, value, uses))
    }

    /// What changed since the last delta. Entries out of use are removed now, not earlier.
    pub(crate) fn take_delta(&mut self) -> Delta<K, V> {
        let mut delta = Delta { added: Vec::new(), removed: Vec::new() };
        for (id, was_in_use) in std::mem::take(&mut self.touched) {
            let Some(slot) = self.slots.get_mut(id.slot()) else { continue };
            let is_in_use = slot.as_ref().is_some_and(|entry| entry.uses > 0);
            if is_in_use {
                delta.added.extend((!was_in_use).then_some(id));
                continue;
            }
            let Some(Entry { key, value, .. }) = slot.take() else { continue };
            self.in_use -= 1;
            // A retired key may lead to another entry by now, which stays.
            if self.index.get(&key) == Some(&id) {
                self.index.remove(&key);
            }
            // An entry that came and went between two deltas was never reported.
            delta.removed.extend(was_in_use.then_some(Removed { id, key, value }));
        }
        delta
    }

    /// The id of a key, without a use.
    pub(crate) fn id<Q: Ord + ?Sized>(&self, key: &Q) -> Option<Id<K>>
    where
        K: Borrow<Q>,
    {
        self.index.get(key).copied()
    }

    /// The key of an entry.
    pub(crate) fn key(&self, id: Id<K>) -> Option<&K> {
        self.entry(id).map(|entry| &entry.key)
    }

    /// The value of an entry.
    pub(crate) fn get(&self, id: Id<K>) -> Option<&V> {
        self.entry(id).map(|entry| &entry.value)
    }

    /// The value of an entry, to change it.
    pub(crate) fn get_mut(&mut self, id: Id<K>) -> Option<&mut V> {
        self.slots.get_mut(id.slot())?.as_mut().map(|entry| &mut entry.value)
    }

    fn entry(&self, id: Id<K>) -> Option<&Entry<K, V>> {
        self.slots.get(id.slot())?.as_ref()
    }

    /// Every entry, in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<K>, &K, &V)> {
        let all = self.slots.iter().enumerate();
        all.filter_map(|(slot, entry)| {
            let entry = entry.as_ref()?;
            Some((Id::after(slot), &entry.key, &entry.value))
        })
    }

    /// Every entry in use that can be acquired, in the order of keys.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = (&K, Id<K>, &V)> {
        self.index.iter().filter_map(|(key, id)| {
            let entry = self.entry(*id).filter(|entry| entry.uses > 0)?;
            Some((key, *id, &entry.value))
        })
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.in_use
    }

    /// One more than the highest slot that an id has.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many ids are spent on entries that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.slots.len() - self.in_use
    }

    /// Whether no invariant was found broken. If one was, the compiler starts from scratch.
    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// A bug: tests fail at it; in production the compiler drops what it kept.
    fn broken(&mut self, invariant: &str) {
        debug_assert!(false, "{invariant}");
        self.is_sound = false;
    }
}

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        let (index, touched) = (BTreeMap::new(), BTreeMap::new());
        Self { slots: Vec::new(), index, touched, in_use: 0, is_sound: true }
    }
}

impl<K, V> Default for Delta<K, V> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new() }
    }
}

impl<K> Id<K> {
    /// The id of the first entry of a registry.
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN, PhantomData);

    /// The id of a slot.
    ///
    /// # Panics
    ///
    /// When 2^32 ids are spent: an id of two entries could open a port. What is enforced
    /// stays enforced without the process, and a new one starts with new ids.
    fn after(slot: usize) -> Self {
        let number = u32::try_from(slot).ok().and_then(|slot| NonZeroU32::MIN.checked_add(slot));
        match number {
            Some(number) => Self(number, PhantomData),
            None => panic!("the ids of a registry are spent"),
        }
    }

    /// The place of its entry.
    pub(crate) fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

// By hand, because a derive would ask the same of the key.
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Added and removed keys of the next delta.
    fn delta(registry: &mut Registry<char, u8>) -> (Vec<char>, Vec<(char, u8)>) {
        let delta = registry.take_delta();
        let added = delta.added.iter().filter_map(|id| registry.key(*id).copied()).collect();
        (added, delta.removed.into_iter().map(|gone| (gone.key, gone.value)).collect())
    }

    #[test]
    fn a_delta_has_what_came_into_use_and_what_fell_out_of_it() {
        let mut registry = Registry::default();
        let a = registry.insert('a', 1);
        assert_eq!(registry.acquire(&'a'), Some(a));
        registry.release(a);
        assert_eq!(delta(&mut registry), (vec!['a'], vec![]));
        assert_eq!(delta(&mut registry), (vec![], vec![]), "one use is left");
        registry.release(a);
        assert_eq!(registry.get(a), Some(&1), "readable until the delta");
        assert_eq!(delta(&mut registry), (vec![], vec![('a', 1)]));
        assert_eq!(registry.get(a), None);
        assert_eq!(registry.acquire(&'a'), None);
    }

    #[test]
    fn what_is_used_in_between_is_not_reported() {
        let mut registry = Registry::default();
        let a = registry.insert('a', 1);
        registry.take_delta();
        registry.release(a);
        assert_eq!(registry.acquire(&'a'), Some(a));
        let b = registry.insert('b', 2);
        registry.release(b);
        assert_eq!(delta(&mut registry), (vec![], vec![]));
        assert_eq!((registry.len(), registry.spent()), (1, 1));
    }

    #[test]
    fn a_retired_key_gets_a_new_entry_and_users_keep_the_old_one() {
        let mut registry = Registry::default();
        let old = registry.insert('a', 1);
        registry.take_delta();
        registry.retire(&'a');
        assert_eq!(registry.acquire(&'a'), None);
        let new = registry.insert('a', 2);
        assert_eq!((registry.get(old), registry.get(new)), (Some(&1), Some(&2)));
        registry.release(old);
        assert_eq!(delta(&mut registry), (vec!['a'], vec![('a', 1)]));
        assert_eq!(registry.id(&'a'), Some(new));
    }

    #[test]
    fn a_replacement_takes_over_all_uses() {
        let mut registry = Registry::default();
        let old = registry.insert('a', 1);
        assert_eq!(registry.acquire(&'a'), Some(old));
        registry.take_delta();
        let new = registry.replace(old, 2).expect("a new entry");
        assert_eq!(delta(&mut registry), (vec!['a'], vec![('a', 1)]));
        registry.release(new);
        assert_eq!(delta(&mut registry), (vec![], vec![]), "one use is left");
        registry.release(new);
        assert_eq!(delta(&mut registry), (vec![], vec![('a', 2)]));
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "that nobody uses"))]
    fn releasing_what_nobody_uses_is_a_bug() {
        let mut registry = Registry::default();
        let a = registry.insert('a', 1);
        registry.release(a);
        registry.release(a);
        assert!(!registry.is_sound());
    }
}
