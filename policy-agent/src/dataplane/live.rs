//! The backends of live connections to Services (S42), as `policy_core::adopt` finds them.
//!
//! `node` writes them before a new epoch starts; the programs look them up when they judge a flow again.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::backend::{LiveBackend, LiveBackendKey};

use super::{Dataplane, error::DataplaneError};

/// Backends by connection.
pub type BackendsByConnection = BTreeMap<LiveBackendKey, LiveBackend>;

impl Dataplane {
    /// The backends that are recorded for connections of these interfaces.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn live_backends(
        &self,
        interfaces: &BTreeSet<u32>,
    ) -> Result<BackendsByConnection, DataplaneError> {
        let entries = self.maps.live_backends.entries()?.into_iter();
        Ok(entries.filter(|(key, _)| interfaces.contains(&key.ifindex)).collect())
    }

    /// Brings the map from what it holds, `before`, to these entries.
    ///
    /// # Errors
    ///
    /// When the map is full; what was written stays.
    pub fn put_live_backends(
        &mut self,
        before: &BackendsByConnection,
        wanted: &BackendsByConnection,
    ) -> Result<(), DataplaneError> {
        let map = &mut self.maps.live_backends;
        for key in before.keys().filter(|key| !wanted.contains_key(key)) {
            map.delete(key)?;
        }
        let new = wanted.iter().filter(|(key, entry)| before.get(key) != Some(entry));
        for (key, entry) in new {
            map.put(key, entry)?;
        }
        Ok(())
    }
}
