//! Allow maps under their kernel ids: those that exist, and those that a plan adds.
//!
//! The planner asks [`AllowMapIds`] for the id of each allow map that it needs; an allow map that the
//! kernel does not have yet becomes a `PutAllowMap` step. Endpoints with equal entries share one
//! allow map. A plan needs up to three allow maps for each endpoint and direction:
//!
//! ```text
//! old allow map           {1: 80}          10.0.0.2 is 1
//! before_tables()         {1: 80, 2: 80}   old verdicts of old ids, new verdicts of fresh ids
//! before_removals()       {2: 80}          new verdicts, and old refusals of removed frontends
//! new allow map           {2: 80}          10.0.0.3 is 2
//! ```

use std::collections::{BTreeMap, BTreeSet};

use policy_common::allow::{DEFAULT_IDENTITY, PortSet};

use crate::desired::ServiceBackends;

use super::{
    actual::Actual,
    entry::{self, AllowEntry, Bitmap, Entries, Limit, limit_of, ports_of},
    ids::IdentityIds,
    step::Step,
};

/// The entries of a compiled allow map, which has them by index, by id.
pub(super) fn by_id(entries: &Entries, ids: &IdentityIds) -> Entries {
    entries.iter().map(|(&index, entry)| (ids.of(index), entry.clone())).collect()
}

/// The transition allow map before the tables change: old outcomes of old ids, new ones of fresh ids.
///
/// `fresh` has the fresh ids, and for each whether it is one of frontends.
pub(super) fn before_tables(old: &Entries, new: &Entries, fresh: &BTreeMap<u32, bool>) -> Entries {
    let mut entries = old.clone();
    for (&id, &is_frontend) in fresh {
        if is_frontend {
            put_limit(&mut entries, id, new);
        } else if ports_of(old, DEFAULT_IDENTITY) != ports_of(new, id) {
            // Without an entry the old default would apply.
            let ports = ports_of(new, id).clone();
            entries.insert(id, AllowEntry { ports, limit: None });
        }
    }
    entries
}

/// The transition allow map before frontends are deleted: new outcomes, and old ones of the ids in
/// `removed`.
pub(super) fn before_removals(old: &Entries, new: &Entries, removed: &BTreeSet<u32>) -> Entries {
    let mut entries = new.clone();
    for &id in removed {
        put_limit(&mut entries, id, old);
    }
    entries
}

fn put_limit(entries: &mut Entries, id: u32, from: &Entries) {
    let limit = limit_of(from, id);
    if limit_of(entries, id) != limit {
        let limit = limit.cloned();
        entries.insert(id, AllowEntry { limit, ..AllowEntry::default() });
    }
}

/// What an allow map refers to.
#[derive(Default)]
struct Parts {
    bitmaps: BTreeSet<u32>,
    lists: BTreeSet<u32>,
}

impl Parts {
    fn of(sets: &[PortSet]) -> Self {
        let mut parts = Self::default();
        for set in sets.iter().filter(|set| set.bitmap != 0) {
            let kind = if set.backends == 0 { &mut parts.bitmaps } else { &mut parts.lists };
            kind.insert(set.bitmap);
        }
        parts
    }
}

/// Kernel ids of allow maps, bitmaps and lists of backends, old and new.
pub(super) struct AllowMapIds<'a> {
    actual: &'a Actual,
    ids: BTreeMap<Entries, u32>,
    bitmaps: BTreeMap<Bitmap, u32>,
    lists: BTreeMap<ServiceBackends, u32>,
    /// Bitmaps and lists of backends of each allow map.
    parts_of: BTreeMap<u32, Parts>,
    next_allow_map: u32,
    next_bitmap: u32,
    next_list: u32,
    /// Writes of new allow maps since [`Self::take_steps`].
    steps: Vec<Step>,
}

impl<'a> AllowMapIds<'a> {
    /// Starts with the kernel's allow maps, which `decoded` has by id.
    pub(super) fn new(actual: &'a Actual, decoded: &BTreeMap<u32, Entries>) -> Self {
        let lists = actual.allow_maps.iter().flat_map(|(id, sets)| {
            let entries = &decoded[id];
            sets.iter().filter_map(|set| match &entries.get(&set.identity)?.limit {
                Some(Limit::Some(backends)) => Some((backends.clone(), set.bitmap)),
                Some(Limit::Refuse(_)) | None => None,
            })
        });
        Self {
            actual,
            lists: lists.collect(),
            ids: decoded.iter().map(|(id, entries)| (entries.clone(), *id)).collect(),
            bitmaps: actual.bitmaps.iter().map(|(id, bits)| (bits.clone(), *id)).collect(),
            parts_of: actual.allow_maps.iter().map(|(&id, sets)| (id, Parts::of(sets))).collect(),
            next_allow_map: 1,
            next_bitmap: 1,
            next_list: 1,
            steps: Vec::new(),
        }
    }

    /// The id of an allow map. A new one must be written before an endpoint uses it.
    pub(super) fn id(&mut self, entries: Entries) -> u32 {
        if let Some(&id) = self.ids.get(&entries) {
            return id;
        }
        // Never the id of an allow map that exists, though this plan deletes it: endpoints may still use
        // it when the new one is written.
        while self.actual.allow_maps.contains_key(&self.next_allow_map) {
            self.next_allow_map += 1;
        }
        let allow_map = self.next_allow_map;
        self.next_allow_map += 1;
        let sets: Vec<PortSet> =
            entries.iter().map(|(&id, entry)| self.encode(id, entry)).collect();
        self.parts_of.insert(allow_map, Parts::of(&sets));
        self.ids.insert(entries, allow_map);
        self.steps.push(Step::PutAllowMap { allow_map, entries: sets });
        allow_map
    }

    /// The kernel's form of an entry, with the id of its bitmap or list if it needs one.
    fn encode(&mut self, identity: u32, entry: &AllowEntry) -> PortSet {
        let (mut set, bitmap) = entry::encode(identity, entry);
        if let Some(Limit::Some(backends)) = &entry.limit {
            set.bitmap = self.list(backends);
            set.backends = u16::try_from(backends.backends.len()).unwrap_or(u16::MAX);
        }
        let Some(bitmap) = bitmap else { return set };
        if let Some(&known) = self.bitmaps.get(&bitmap) {
            set.bitmap = known;
            return set;
        }
        while self.actual.bitmaps.contains_key(&self.next_bitmap) {
            self.next_bitmap += 1;
        }
        set.bitmap = self.next_bitmap;
        self.next_bitmap += 1;
        self.steps.extend(entry::chunks(set.bitmap, &bitmap).map(Step::PutPortChunk));
        self.bitmaps.insert(bitmap, set.bitmap);
        set
    }

    /// The id of a list of backends.
    fn list(&mut self, backends: &ServiceBackends) -> u32 {
        if let Some(&known) = self.lists.get(backends) {
            return known;
        }
        while self.actual.lists.contains_key(&self.next_list) {
            self.next_list += 1;
        }
        let list = self.next_list;
        self.next_list += 1;
        self.steps.extend(entry::list(list, backends).into_values().map(Step::PutBackend));
        self.lists.insert(backends.clone(), list);
        list
    }

    /// The writes that are due: backends and chunks of bitmaps first, as allow maps refer to them; then allow maps in
    /// a row, which the dataplane can create in one batch.
    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        self.steps.sort_by_key(|step| matches!(step, Step::PutAllowMap { .. }));
        std::mem::take(&mut self.steps)
    }

    /// Deletions of everything that is not used once the endpoints use only the allow maps in `used`.
    pub(super) fn delete_unused(&self, used: &BTreeSet<u32>) -> Vec<Step> {
        // Also those of `actual` without an entry in `ids`: of several with equal entries, one is used.
        let allow_maps: BTreeSet<u32> =
            self.ids.values().chain(self.actual.allow_maps.keys()).copied().collect();
        let allow_maps =
            allow_maps.difference(used).map(|&allow_map| Step::DeleteAllowMap { allow_map });
        let kept = || used.iter().filter_map(|allow_map| self.parts_of.get(allow_map));
        let kept_lists: BTreeSet<u32> = kept().flat_map(|parts| &parts.lists).copied().collect();
        let lists: BTreeSet<u32> =
            self.lists.values().chain(self.actual.lists.keys()).copied().collect();
        let lists = lists.difference(&kept_lists).map(|&list| Step::DeleteBackends { list });
        let kept: BTreeSet<u32> = kept().flat_map(|parts| &parts.bitmaps).copied().collect();
        let bitmaps: BTreeSet<u32> =
            self.bitmaps.values().chain(self.actual.bitmaps.keys()).copied().collect();
        let bitmaps = bitmaps.difference(&kept).map(|&bitmap| Step::DeletePortBitmap { bitmap });
        allow_maps.chain(bitmaps).chain(lists).collect()
    }
}
