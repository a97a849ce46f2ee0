//! What the maps of a node hold, updated by the steps that were carried out.
//!
//! The dataplane reads it back from the kernel once, at start; from then on each step that succeeds
//! is applied here too, so that a plan needs no reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use policy_common::{
    allow::{DEFAULT_IDENTITY, PortChunk, PortSet},
    backend::Backend,
    endpoint::Endpoint,
};

use crate::{
    compile::longest_match,
    desired::{Frontend, IdentityKey, NodeKind, Prefixes},
};

use super::{
    entry::{self, BackendList, Bitmap, Entries},
    step::Step,
};

/// The content of the maps. Empty where the agent has just loaded its programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// The key of each identity id. The kernel does not hold it: after a restart, every
    /// identity gets a fresh id.
    pub(super) identity_keys: Arc<BTreeMap<u32, IdentityKey>>,
    pub(super) addresses: BTreeMap<IpAddr, u32>,
    pub(super) blocks: Prefixes<u32>,
    pub(super) frontends: BTreeMap<Frontend, u32>,
    pub(super) allow_maps: BTreeMap<u32, Vec<PortSet>>,
    pub(super) bitmaps: BTreeMap<u32, Bitmap>,
    /// Lists of backends.
    pub(super) lists: BTreeMap<u32, BackendList>,
    pub(super) endpoints: BTreeMap<u32, Endpoint>,
    pub(super) node_addresses: BTreeMap<IpAddr, NodeKind>,
    /// Interfaces at which a plan started to change verdicts and did not bump the epoch yet.
    pub(super) pending_bumps: BTreeSet<u32>,
}

/// How many entries each map has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    /// Entries of `endpoints`.
    pub endpoints: usize,
    /// Entries of `identities`.
    pub identities: usize,
    /// Entries of `blocks`.
    pub blocks: usize,
    /// Entries of `frontends`.
    pub frontends: usize,
    /// Entries of `node_addresses`.
    pub node_addresses: usize,
    /// Allow maps.
    pub allow_maps: usize,
    /// Entries of `port_chunks`.
    pub port_chunks: usize,
}

/// What the maps hold after these steps, if they were empty before.
impl<'a> FromIterator<&'a Step> for Actual {
    fn from_iter<I: IntoIterator<Item = &'a Step>>(steps: I) -> Self {
        let mut actual = Self::default();
        for step in steps {
            actual.apply(step);
        }
        actual
    }
}

impl Actual {
    /// Applies a step that the kernel has carried out.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::PutPortChunk(chunk) => self.put_port_chunk(chunk),
            Step::PutBackend(backend) => self.put_backend(backend),
            Step::PutAllowMap { allow_map, entries } => {
                self.allow_maps.insert(*allow_map, entries.clone());
            }
            Step::PutIdentity { address, identity } => {
                self.addresses.insert(*address, *identity);
            }
            Step::PutBlock { block, identity } => {
                self.blocks.insert(*block, *identity);
            }
            Step::PutFrontend { frontend, identity } => {
                self.frontends.insert(*frontend, *identity);
            }
            Step::PutNodeAddress { address, kind } => {
                self.node_addresses.insert(*address, *kind);
            }
            Step::PutEndpoint(endpoint) => {
                self.endpoints.insert(endpoint.ifindex, *endpoint);
            }
            Step::ReplaceEndpoint { endpoint, .. } => {
                self.pending_bumps.remove(&endpoint.ifindex);
                self.endpoints.insert(endpoint.ifindex, *endpoint);
            }
            Step::AdoptFlows { .. } | Step::RecordBackends { .. } => {}
            Step::BumpEpoch { ifindex } => {
                self.pending_bumps.remove(ifindex);
            }
            Step::DeleteEndpoint { ifindex, .. } => {
                self.pending_bumps.remove(ifindex);
                self.endpoints.remove(ifindex);
            }
            Step::DeleteFrontend(frontend) => {
                self.frontends.remove(frontend);
            }
            Step::DeleteBlock(block) => {
                self.blocks.remove(block);
            }
            Step::DeleteIdentity(address) => {
                self.addresses.remove(address);
            }
            Step::DeleteNodeAddress(address) => {
                self.node_addresses.remove(address);
            }
            Step::DeleteAllowMap { allow_map } => {
                self.allow_maps.remove(allow_map);
            }
            Step::DeleteBackends { list } => {
                self.lists.remove(list);
            }
            Step::DeletePortBitmap { bitmap } => {
                self.bitmaps.remove(bitmap);
            }
        }
    }

    /// Makes the next plan bump the epoch of every endpoint.
    ///
    /// For maps that an earlier agent wrote: it may have ended before the last step of its plan.
    pub fn require_bumps(&mut self) {
        self.pending_bumps.extend(self.endpoints.keys());
    }

    /// How many entries each map has.
    #[must_use]
    pub fn entry_counts(&self) -> EntryCounts {
        EntryCounts {
            endpoints: self.endpoints.len(),
            identities: self.addresses.len(),
            blocks: self.blocks.len(),
            frontends: self.frontends.len(),
            node_addresses: self.node_addresses.len(),
            allow_maps: self.allow_maps.len(),
            port_chunks: self.bitmaps.values().map(Bitmap::len).sum(),
        }
    }

    /// Endpoints, by the index of their interface.
    #[must_use]
    pub fn endpoints(&self) -> &BTreeMap<u32, Endpoint> {
        &self.endpoints
    }

    /// Addresses of nodes, and whether they are the own node's.
    pub fn node_addresses(&self) -> impl Iterator<Item = (IpAddr, NodeKind)> + '_ {
        self.node_addresses.iter().map(|(address, kind)| (*address, *kind))
    }

    /// The key of each identity id, those that the plan under way replaces included.
    pub(crate) fn identity_keys(&self) -> &Arc<BTreeMap<u32, IdentityKey>> {
        &self.identity_keys
    }

    /// Entries of an allow map.
    #[must_use]
    pub fn allow_map(&self, allow_map: u32) -> Option<&[PortSet]> {
        self.allow_maps.get(&allow_map).map(Vec::as_slice)
    }

    /// The ids of the allow maps.
    pub fn allow_maps(&self) -> impl Iterator<Item = u32> + '_ {
        self.allow_maps.keys().copied()
    }

    /// The identity of a frontend; `None` where there is no such frontend.
    #[must_use]
    pub fn frontend(&self, frontend: &Frontend) -> Option<u32> {
        self.frontends.get(frontend).copied()
    }

    /// How many frontends there are.
    #[must_use]
    pub fn frontend_count(&self) -> usize {
        self.frontends.len()
    }

    /// The identity that the programs find for an address: exact, else longest prefix, else 0.
    #[must_use]
    pub fn identity_of(&self, address: IpAddr) -> u32 {
        let exact = self.addresses.get(&address).copied();
        exact.or_else(|| longest_match(&self.blocks, address).copied()).unwrap_or(DEFAULT_IDENTITY)
    }

    /// Whether a port is set in a bitmap; `protocol` is IANA's number.
    #[must_use]
    pub fn bitmap_holds(&self, bitmap: u32, protocol: u8, port: u16) -> bool {
        let [chunk, low] = port.to_be_bytes();
        let chunks = self.bitmaps.get(&bitmap);
        let bits = chunks.and_then(|chunks| chunks.get(&(protocol, chunk)));
        bits.is_some_and(|bits| bits[usize::from(low / 64)] >> (low % 64) & 1 != 0)
    }

    /// The entries of an allow map, decoded; one that is missing passes nothing.
    pub(super) fn entries(&self, allow_map: u32) -> Entries {
        let sets = self.allow_maps.get(&allow_map).into_iter().flatten();
        sets.map(|set| (set.identity, entry::decode(set, &self.bitmaps, &self.lists))).collect()
    }

    /// Ids of identities that some map refers to.
    pub(super) fn used_ids(&self) -> BTreeSet<u32> {
        let tables = self.addresses.values().chain(self.blocks.values());
        let tables = tables.chain(self.frontends.values()).copied();
        let allow_maps = self.allow_maps.values().flatten().map(|set| set.identity);
        tables.chain(allow_maps).collect()
    }

    fn put_port_chunk(&mut self, PortChunk { key, bits }: &PortChunk) {
        let bitmap = self.bitmaps.entry(key.bitmap).or_default();
        bitmap.insert((key.protocol, key.chunk), *bits);
    }

    fn put_backend(&mut self, backend: &Backend) {
        let list = self.lists.entry(backend.key.list).or_default();
        list.insert(backend.key.place, *backend);
    }
}
