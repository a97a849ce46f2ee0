//! The maps of the object, by the names that bpftool shows.

use std::{collections::BTreeMap, os::fd::AsFd as _, path::Path};

use aya::{
    Ebpf,
    maps::{
        Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuHashMap, RingBuf, lpm_trie::Key,
    },
};
use ipnetwork::IpNetwork;
use policy_common::{
    address::Address,
    allow::{DEFAULT_IDENTITY, PortChunk, PortChunkKey, PortSet},
    backend::{Backend, BackendKey, LiveBackend, LiveBackendKey},
    drops::DropKey,
    endpoint::Endpoint,
    frontend::{Frontend, FrontendKey},
    identity::Identity,
};
use policy_core::compile::is_mapped;

use super::{
    drops::Events,
    error::DataplaneError,
    flow_table::{FlowFamily, Pair, V4, V6},
    key,
    named::{Hash, Named},
};

/// An allow map.
pub(super) type AllowMap = HashMap<MapData, u32, PortSet>;

/// The maps that the agent writes.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) endpoints: Hash<u32, Endpoint>,
    pub(super) slots: Named<Array<MapData, u32>>,
    pub(super) epochs: Named<Array<MapData, u32>>,
    pub(super) identities: Hash<Address, Identity>,
    pub(super) blocks: Named<LpmTrie<MapData, Address, u32>>,
    pub(super) frontends: Hash<FrontendKey, Frontend>,
    pub(super) backends: Hash<BackendKey, Backend>,
    pub(super) live_backends: Hash<LiveBackendKey, LiveBackend>,
    pub(super) node_addresses: Hash<Address, u32>,
    pub(super) pods: Hash<Address, u32>,
    pub(super) tunnel_ports: Hash<u32, u32>,
    pub(super) allow: Hash<u32, u32>,
    pub(super) port_chunks: Hash<PortChunkKey, PortChunk>,
    /// Flows of IPv4 of pods without flow tables of their own.
    pub(super) flows4: Pair<V4>,
    /// Flows of IPv6 of such pods.
    pub(super) flows6: Pair<V6>,
    pub(super) drops: Named<PerCpuHashMap<MapData, DropKey, u64>>,
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Self::gather(|name| ebpf.take_map(name).ok_or(DataplaneError::MapMissing { map: name }))
    }

    /// Opens the maps that are pinned in a folder.
    pub(super) fn open(folder: &Path) -> Result<Self, DataplaneError> {
        Self::gather(|name| {
            let map = MapData::from_pin(folder.join(name)).and_then(Map::from_map_data);
            map.map_err(|source| DataplaneError::MapShape { map: name, source })
        })
    }

    /// Opens the maps that an earlier agent pinned in a folder. It may have had fewer of them: in the
    /// place of those that it did not have yet are this agent's own.
    pub(super) fn open_earlier(folder: &Path, own: &Self) -> Result<Self, DataplaneError> {
        let added = [
            (own.backends.name, own.backends.id),
            (own.live_backends.name, own.live_backends.id),
            (own.pods.name, own.pods.id),
            (own.tunnel_ports.name, own.tunnel_ports.id),
        ];
        Self::gather(|name| {
            let added = added.iter().find(|(added, _)| *added == name);
            let map = match added {
                Some((_, id)) if !folder.join(name).exists() => MapData::from_id(*id),
                _ => MapData::from_pin(folder.join(name)),
            };
            let map = map.and_then(Map::from_map_data);
            map.map_err(|source| DataplaneError::MapShape { map: name, source })
        })
    }

    fn gather(
        mut source: impl FnMut(&'static str) -> Result<Map, DataplaneError>,
    ) -> Result<Self, DataplaneError> {
        let source = &mut source;
        Ok(Self {
            endpoints: named(source, "endpoints")?,
            slots: named(source, "slots")?,
            epochs: named(source, "epochs")?,
            identities: named(source, "identities")?,
            blocks: named(source, "blocks")?,
            frontends: named(source, "frontends")?,
            backends: named(source, "backends")?,
            live_backends: named(source, "live_backends")?,
            node_addresses: named(source, "node_addresses")?,
            pods: named(source, "pods")?,
            tunnel_ports: named(source, "tunnel_ports")?,
            allow: named(source, "allow")?,
            port_chunks: named(source, "port_chunks")?,
            flows4: pair(source)?,
            flows6: pair(source)?,
            drops: named(source, "drops")?,
        })
    }

    /// The kernel ids, by name.
    pub(super) fn ids(&self) -> BTreeMap<&'static str, u32> {
        macro_rules! ids {
            ($($map:ident)+) => { BTreeMap::from([$((self.$map.name, self.$map.id)),+]) };
        }
        let mut ids = ids!(endpoints slots epochs identities blocks frontends backends live_backends
            node_addresses pods tunnel_ports allow port_chunks drops);
        ids.extend(self.flows4.tables().map(|table| (table.name, table.id)));
        ids.extend(self.flows6.tables().map(|table| (table.name, table.id)));
        ids
    }
}

/// Blocks of both families share a trie, in which IPv4 (`::ffff:0:0/96`) lies inside `::/0`. An entry
/// for all of IPv4 separates them, so that no IPv6 block matches an IPv4 address (S20).
impl Maps {
    /// Whether that entry exists; a policy's own `0.0.0.0/0` counts too.
    pub(super) fn are_parted(&self) -> Result<bool, DataplaneError> {
        let is = |key: &Key<Address>| {
            (key.prefix_len(), key.data()) == (key::EVERY_IPV4.prefix_len(), key::EVERY_IPV4.data())
        };
        Ok(self.blocks.entries()?.iter().any(|(key, _)| is(key)))
    }

    /// Writes that entry.
    pub(super) fn part_families(&mut self) -> Result<(), DataplaneError> {
        self.blocks.put(&key::EVERY_IPV4, &DEFAULT_IDENTITY, "all of IPv4")
    }

    /// Writes a block.
    pub(super) fn put_block(
        &mut self,
        block: IpNetwork,
        identity: u32,
    ) -> Result<(), DataplaneError> {
        if is_mapped(block) {
            return Ok(());
        }
        self.blocks.put(&key::block(block), &identity, block)
    }

    /// Deletes a block.
    pub(super) fn delete_block(&mut self, block: IpNetwork) -> Result<(), DataplaneError> {
        if is_mapped(block) {
            return Ok(());
        }
        if block.is_ipv4() && block.prefix() == 0 {
            return self.part_families();
        }
        self.blocks.delete(&key::block(block), block)
    }
}

/// Takes a map out of a loaded object.
pub(super) fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<Named<M>, DataplaneError>
where
    M: TryFrom<Map, Error = MapError>,
{
    of_map(name, ebpf.take_map(name).ok_or(DataplaneError::MapMissing { map: name })?)
}

/// Takes the ring buffer of drop records.
pub(super) fn take_events(ebpf: &mut Ebpf) -> Result<Events, DataplaneError> {
    let events: Named<RingBuf<MapData>> = take(ebpf, "events")?;
    Ok(events.map.into())
}

fn named<M>(
    source: &mut impl FnMut(&'static str) -> Result<Map, DataplaneError>,
    name: &'static str,
) -> Result<Named<M>, DataplaneError>
where
    M: TryFrom<Map, Error = MapError>,
{
    of_map(name, source(name)?)
}

/// The shared flow tables of one family.
fn pair<F: FlowFamily>(
    source: &mut impl FnMut(&'static str) -> Result<Map, DataplaneError>,
) -> Result<Pair<F>, DataplaneError> {
    Ok(Pair { replied: named(source, F::REPLIED)?, new: named(source, F::NEW)? })
}

/// A map with its name.
pub(super) fn of_map<M>(name: &'static str, map: Map) -> Result<Named<M>, DataplaneError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let shape = |source| DataplaneError::MapShape { map: name, source };
    // aya's array of maps takes maps of its own making only, and cannot delete; to the kernel it is
    // a map like any other; its values are descriptors when written and numbers when read.
    let map = if let Map::ArrayOfMaps(map) = map { Map::HashMap(map) } else { map };
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LpmTrie(data)
    | Map::LruHashMap(data)
    | Map::PerCpuHashMap(data)
    | Map::RingBuf(data)) = &map
    else {
        return Err(DataplaneError::MapMissing { map: name });
    };
    let info = data.info().map_err(shape)?;
    let (id, capacity) = (info.id(), info.max_entries());
    let fd = data.fd().as_fd().try_clone_to_owned();
    let fd = fd.map_err(|source| DataplaneError::Descriptor { map: name, source })?;
    Ok(Named { name, id, capacity, fd, map: M::try_from(map).map_err(shape)? })
}
