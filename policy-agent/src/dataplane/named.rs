//! Maps with their name and capacity, so that an error can name them.
//!
//! Every access of the agent to a map of the object goes through [`Named`], which turns aya's errors
//! into those of this module's parent and hides what is no failure:
//!
//! ```text
//! put     E2BIG or ENOSPC   the map is full         DataplaneError::Full, with its capacity
//!         another error                             DataplaneError::Write, with the key
//! delete  ENOENT            it was absent already   Ok
//! get     ENOENT            no such entry           Ok(None)
//! ```

use std::{
    fmt::{self, Debug},
    os::fd::OwnedFd,
};

use aya::{
    Pod,
    maps::{
        Array, HashMap, IterableMap, LpmTrie, Map, MapData, MapError, PerCpuHashMap, PerCpuValues,
        lpm_trie::Key,
    },
};
use nix::libc;

use super::error::{DataplaneError, errno};

/// A map of the object.
pub(super) struct Named<M> {
    /// Its name in the object.
    pub(super) name: &'static str,
    /// Its kernel id.
    pub(super) id: u32,
    /// Its capacity, in entries.
    pub(super) capacity: u32,
    /// For calls that aya does not make.
    pub(super) fd: OwnedFd,
    pub(super) map: M,
}

/// A hash map of the object.
pub(super) type Hash<K, V> = Named<HashMap<MapData, K, V>>;

impl<M> Debug for Named<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, capacity, fd: _, map: _ } = self;
        write!(f, "{name} (map {id}, capacity {capacity})")
    }
}

impl<M> Named<M> {
    /// The failure to write an entry.
    pub(super) fn refused(&self, key: impl Debug, source: MapError) -> DataplaneError {
        let Self { name: map, capacity, .. } = *self;
        // A full hash or array gives E2BIG, a full trie ENOSPC.
        let full = matches!(source, MapError::OutOfBounds { .. })
            || matches!(errno(&source), Some(libc::E2BIG | libc::ENOSPC));
        if full {
            DataplaneError::Full { map, capacity }
        } else {
            DataplaneError::Write { map, key: format!("{key:?}"), source }
        }
    }

    fn unreadable(&self, source: MapError) -> DataplaneError {
        DataplaneError::Read { map: self.name, source }
    }

    /// The result of a deletion; an entry that is absent counts as deleted.
    pub(super) fn deleted(
        &self,
        key: impl Debug,
        result: Result<(), MapError>,
    ) -> Result<(), DataplaneError> {
        match result {
            Ok(()) => Ok(()),
            Err(source) if errno(&source) == Some(libc::ENOENT) => Ok(()),
            Err(source) => {
                Err(DataplaneError::Delete { map: self.name, key: format!("{key:?}"), source })
            }
        }
    }
}

impl<K: Pod + Debug, V: Pod> Hash<K, V> {
    /// Writes an entry.
    pub(super) fn put(&mut self, key: &K, value: &V) -> Result<(), DataplaneError> {
        self.map.insert(key, value, 0).map_err(|source| self.refused(key, source))
    }

    /// Every entry. In a map that the programs write, an entry may appear twice or be missed.
    pub(super) fn entries(&self) -> Result<Vec<(K, V)>, DataplaneError> {
        self.map
            .iter()
            // If a program deletes entries meanwhile, the iteration may start over without end.
            .take(2 * self.capacity as usize)
            .collect::<Result<_, _>>()
            .map_err(|source| self.unreadable(source))
    }

    /// Writes an entry; with `BPF_NOEXIST` in `flags` an existing one stays.
    pub(super) fn put_with(
        &mut self,
        key: &K,
        value: &V,
        flags: u64,
    ) -> Result<(), DataplaneError> {
        match self.map.insert(key, value, flags) {
            Err(source) if errno(&source) == Some(libc::EEXIST) => Ok(()),
            result => result.map_err(|source| self.refused(key, source)),
        }
    }

    /// Reads an entry if there is one.
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, DataplaneError> {
        match self.map.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    /// Deletes an entry if there is one.
    pub(super) fn delete(&mut self, key: &K) -> Result<(), DataplaneError> {
        let result = self.map.remove(key);
        self.deleted(key, result)
    }

    /// Deletes the entries with a key for which `doomed` holds.
    ///
    /// Keys are collected first, because a deletion would restart the iteration. In a map that the
    /// programs write, an entry may be missed.
    pub(super) fn delete_where(
        &mut self,
        doomed: impl Fn(&K) -> bool,
    ) -> Result<(), DataplaneError> {
        let keys: Vec<K> = self
            .map
            .keys()
            // If a program deletes entries meanwhile, the iteration may start over without end.
            .take(2 * self.capacity as usize)
            .filter(|key| key.as_ref().map_or(true, &doomed))
            .collect::<Result<_, _>>()
            .map_err(|source| self.unreadable(source))?;
        keys.iter().try_for_each(|key| self.delete(key))
    }
}

impl<K: Pod, V: Pod> Named<LpmTrie<MapData, K, V>> {
    /// Writes an entry; `name` describes the key in errors.
    pub(super) fn put(
        &mut self,
        key: &Key<K>,
        value: &V,
        name: impl Debug,
    ) -> Result<(), DataplaneError> {
        self.map.insert(key, value, 0).map_err(|source| self.refused(name, source))
    }

    /// Deletes an entry if there is one; `name` describes the key in errors.
    pub(super) fn delete(&mut self, key: &Key<K>, name: impl Debug) -> Result<(), DataplaneError> {
        let result = self.map.remove(key);
        self.deleted(name, result)
    }
}

impl<K: Pod, V: Pod> Named<LpmTrie<MapData, K, V>> {
    /// Every entry.
    pub(super) fn entries(&self) -> Result<Vec<(Key<K>, V)>, DataplaneError> {
        self.map.iter().collect::<Result<_, _>>().map_err(|source| self.unreadable(source))
    }
}

impl<V: Pod> Named<Array<MapData, V>> {
    /// Copies every element up to the smaller capacity.
    pub(super) fn copy(&mut self, from: &Self) -> Result<(), DataplaneError> {
        (0..self.capacity.min(from.capacity))
            .try_for_each(|index| self.set(index, &from.get(index)?))
    }

    /// Every element.
    pub(super) fn values(&self) -> Result<Vec<V>, DataplaneError> {
        (0..self.capacity).map(|index| self.get(index)).collect()
    }

    /// Reads an element.
    pub(super) fn get(&self, index: u32) -> Result<V, DataplaneError> {
        self.map.get(&index, 0).map_err(|source| self.unreadable(source))
    }

    /// Writes an element.
    pub(super) fn set(&mut self, index: u32, value: &V) -> Result<(), DataplaneError> {
        self.map.set(index, value, 0).map_err(|source| self.refused(index, source))
    }
}

impl<K: Pod + Debug> Named<PerCpuHashMap<MapData, K, u64>> {
    /// The same map by a descriptor of its own.
    pub(super) fn duplicate(&self) -> Result<Self, DataplaneError> {
        let Self { name, id, capacity, ref fd, map: _ } = *self;
        let copy =
            || fd.try_clone().map_err(|source| DataplaneError::Descriptor { map: name, source });
        let shape = |source| DataplaneError::MapShape { map: name, source };
        let data = MapData::from_fd(copy()?).map_err(shape)?;
        let map = PerCpuHashMap::try_from(Map::PerCpuHashMap(data)).map_err(shape)?;
        Ok(Self { name, id, capacity, fd: copy()?, map })
    }

    /// Adds the counts of another map. A count that a program raises between the read and the write of
    /// its entry is lost.
    pub(super) fn add(&mut self, from: &Self) -> Result<(), DataplaneError> {
        for (key, counts) in from.entries()? {
            let sum = match self.map.get(&key, 0) {
                Ok(own) => own.iter().zip(counts.iter()).map(|(own, count)| own + count).collect(),
                Err(MapError::KeyNotFound) => counts.to_vec(),
                Err(source) => return Err(self.unreadable(source)),
            };
            let added = PerCpuValues::try_from(sum).map_err(MapError::IoError);
            let added = added.and_then(|sum| self.map.insert(key, sum, 0));
            added.map_err(|source| self.refused(key, source))?;
        }
        Ok(())
    }
}

impl<K: Pod + Debug, V: Pod> Named<PerCpuHashMap<MapData, K, V>> {
    /// Every entry.
    pub(super) fn entries(&self) -> Result<Vec<(K, PerCpuValues<V>)>, DataplaneError> {
        self.map
            .keys()
            .filter_map(|key| {
                match key.and_then(|key| Ok((key, IterableMap::get(&self.map, &key)?))) {
                    // Deleted after its key was read.
                    Err(MapError::KeyNotFound) => None,
                    entry => Some(entry),
                }
            })
            .collect::<Result<_, _>>()
            .map_err(|source| self.unreadable(source))
    }

    /// Deletes the entries with a key for which `doomed` holds.
    pub(super) fn delete_where(
        &mut self,
        doomed: impl Fn(&K) -> bool,
    ) -> Result<(), DataplaneError> {
        let keys: Vec<K> = self
            .map
            .keys()
            .filter(|key| key.as_ref().map_or(true, &doomed))
            .collect::<Result<_, _>>()
            .map_err(|source| self.unreadable(source))?;
        for key in keys {
            let result = self.map.remove(&key);
            self.deleted(key, result)?;
        }
        Ok(())
    }
}
