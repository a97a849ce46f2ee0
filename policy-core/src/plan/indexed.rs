//! The desired state with small indexes in place of identities and allow maps.
//!
//! An identity of the compiler is a large value that names what it matches. The planner compares
//! many of them, so each distinct one gets an [`IdentityIndex`] here, once. [`super::ids`] later
//! decides which kernel id an index stands for.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use policy_common::allow::DEFAULT_IDENTITY;

use crate::{
    compile::longest_match,
    desired::{
        AllowMap, Desired, Frontend, FrontendOutcome, Identity, IdentityKey, Isolation, NodeKind,
        Prefixes,
    },
};

use super::entry::{AllowEntry, Entries, Limit};

/// Index of an identity, from 1, in the order of first use; 0 is `DEFAULT_IDENTITY`.
pub(super) type IdentityIndex = u32;

/// Index of an allow map, in the order of first use.
pub(super) type AllowMapIndex = usize;

/// The desired state by indexes.
pub(super) struct Indexed<'a> {
    /// By index, less one.
    pub(super) identities: Vec<&'a IdentityKey>,
    pub(super) addresses: BTreeMap<IpAddr, IdentityIndex>,
    pub(super) blocks: Prefixes<IdentityIndex>,
    pub(super) frontends: BTreeMap<Frontend, IdentityIndex>,
    pub(super) allow_maps: Vec<Entries>,
    pub(super) node_addresses: &'a BTreeMap<IpAddr, NodeKind>,
    /// By address in memory: endpoints with equal allow maps mostly share one `Arc`.
    allow_map_index: HashMap<usize, AllowMapIndex>,
}

impl<'a> Indexed<'a> {
    /// Gives indexes to everything.
    pub(super) fn of(desired: &'a Desired) -> Self {
        let mut indexer = Indexer::default();
        let blocks = desired.blocks.iter().map(|(key, of)| (key, indexer.of(of))).collect();
        let addresses = desired.addresses.iter().map(|(key, of)| (*key, indexer.of(of))).collect();
        let frontends = desired.frontends.iter().map(|(key, of)| (*key, indexer.of(of))).collect();
        let node_addresses = &desired.node_addresses;
        let (mut allow_maps, mut allow_map_index) = (Vec::new(), HashMap::new());
        let mut known: BTreeMap<&AllowMap, AllowMapIndex> = BTreeMap::new();
        let endpoints = desired.endpoints.values();
        let isolations = endpoints.flat_map(|endpoint| endpoint.isolation.values());
        for isolation in isolations.flatten() {
            allow_map_index.entry(memory_address(isolation)).or_insert_with(|| {
                *known.entry(&isolation.allow_map).or_insert_with(|| {
                    allow_maps.push(indexer.entries(&isolation.allow_map));
                    allow_maps.len() - 1
                })
            });
        }
        let identities = indexer.all;
        Self {
            identities,
            addresses,
            blocks,
            frontends,
            allow_maps,
            node_addresses,
            allow_map_index,
        }
    }

    /// The identity of an address.
    pub(super) fn identity_of(&self, address: IpAddr) -> IdentityIndex {
        let found = self.addresses.get(&address).or_else(|| longest_match(&self.blocks, address));
        found.copied().unwrap_or(DEFAULT_IDENTITY)
    }

    /// The allow map that an isolation has.
    pub(super) fn allow_map(&self, isolation: &Isolation) -> AllowMapIndex {
        self.allow_map_index.get(&memory_address(isolation)).copied().unwrap_or_default()
    }
}

fn memory_address(isolation: &Isolation) -> usize {
    Arc::as_ptr(&isolation.allow_map).addr()
}

/// Gives out indexes in the order of first use.
///
/// Equal keys mostly share memory, so a hash of the memory address finds most of them without
/// comparing keys.
#[derive(Default)]
struct Indexer<'a> {
    all: Vec<&'a IdentityKey>,
    by_place: HashMap<usize, IdentityIndex>,
    by_value: BTreeMap<&'a IdentityKey, IdentityIndex>,
}

impl<'a> Indexer<'a> {
    /// The index of an identity.
    ///
    /// # Panics
    ///
    /// When 2^32 indexes are given out: an index of two identities could open a port.
    fn of(&mut self, identity: &'a Identity) -> IdentityIndex {
        let Some(key) = identity else { return DEFAULT_IDENTITY };
        let (all, by_value) = (&mut self.all, &mut self.by_value);
        *self.by_place.entry(key.pointer()).or_insert_with(|| {
            *by_value.entry(key).or_insert_with(|| {
                all.push(key);
                let Ok(index) = IdentityIndex::try_from(all.len()) else {
                    panic!("the indexes of identities are spent")
                };
                index
            })
        })
    }

    /// The entries of a compiled allow map by [`IdentityIndex`].
    fn entries(&mut self, allow_map: &'a AllowMap) -> Entries {
        let mut entries = Entries::new();
        for (identity, ports) in allow_map.ports.iter() {
            entries.insert(self.of(identity), AllowEntry { ports: ports.clone(), limit: None });
        }
        for (identity, outcome) in &allow_map.frontends {
            let limit = match outcome {
                FrontendOutcome::Pass => None,
                FrontendOutcome::Some(backends) => Some(Limit::Some(backends.clone())),
                FrontendOutcome::Refuse(reason) => Some(Limit::Refuse(*reason)),
            };
            entries.insert(self.of(identity), AllowEntry { limit, ..AllowEntry::default() });
        }
        entries
    }
}
