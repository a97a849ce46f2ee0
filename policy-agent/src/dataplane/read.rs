//! Reads the maps back, as the steps that would write their content.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use aya::maps::MapData;
use ipnetwork::IpNetwork;
use policy_common::{
    address::{Address, MAPPED_BITS},
    allow::{PortSet, every},
    endpoint::Endpoint,
};
use policy_core::{
    desired::{Frontend, NodeKind},
    model::Protocol,
    plan::Step,
};

use super::{
    allow_map,
    error::DataplaneError,
    key,
    maps::Maps,
    named::Hash,
    pins::{self, Pins},
};

/// Every table except allow maps and endpoints, which need more than their entries.
pub(super) fn tables(maps: &Maps) -> Result<Vec<Step>, DataplaneError> {
    let mut steps = Vec::new();
    let chunks = maps.port_chunks.entries()?.into_iter();
    // A value that carries another key is ignored by the programs, and so it is here.
    let chunks = chunks.filter(|(key, chunk)| *key == chunk.key);
    steps.extend(chunks.map(|(_, chunk)| Step::PutPortChunk(chunk)));
    let backends = maps.backends.entries()?.into_iter();
    let backends = backends.filter(|(key, backend)| *key == backend.key);
    steps.extend(backends.map(|(_, backend)| Step::PutBackend(backend)));
    let identities = maps.identities.entries()?.into_iter();
    let identities = identities.filter(|(address, value)| *address == value.address);
    steps.extend(identities.map(|(address, value)| Step::PutIdentity {
        address: canonical(address),
        identity: value.identity,
    }));
    for (key, identity) in maps.blocks.entries()? {
        // The entry that separates the families belongs to no policy.
        let between = (key.prefix_len(), key.data())
            == (key::EVERY_IPV4.prefix_len(), key::EVERY_IPV4.data());
        if let Some(block) = block(key.prefix_len(), key.data())
            && !(between && identity == 0)
        {
            steps.push(Step::PutBlock { block, identity });
        }
    }
    for (key, value) in maps.frontends.entries()?.into_iter().filter(|(key, it)| *key == it.key) {
        let known = Protocol::ALL.into_iter().find(|known| known.number() == key.protocol);
        if let Some(protocol) = known {
            let (address, port) = (canonical(key.address), u16::from_be_bytes(key.port));
            let frontend = Frontend { address, protocol, port };
            steps.push(Step::PutFrontend { frontend, identity: value.identity });
        }
    }
    let nodes = maps.node_addresses.entries()?.into_iter();
    steps.extend(nodes.map(|(address, kind)| Step::PutNodeAddress {
        address: canonical(address),
        kind: if kind == NodeKind::Own as u32 { NodeKind::Own } else { NodeKind::Other },
    }));
    Ok(steps)
}

/// Every endpoint; a value that carries another key is ignored.
pub(super) fn endpoints(maps: &Maps) -> Result<Vec<Endpoint>, DataplaneError> {
    let endpoints = maps.endpoints.entries()?.into_iter();
    let endpoints = endpoints.filter(|(ifindex, endpoint)| *ifindex == endpoint.ifindex);
    Ok(endpoints.map(|(_, endpoint)| endpoint).collect())
}

/// The indexes of `allow` that hold an allow map, as far as the agent knows: those with a pin, and
/// those that one of the endpoints refers to.
///
/// Before Linux 6.8 each look-up in `allow` waits for all running programs (15 ms), and it has
/// thousands of indexes; the others are not read.
pub(super) fn used_indexes(
    allow: &Hash<u32, u32>,
    folder: &Path,
    endpoints: &[Endpoint],
) -> Result<BTreeSet<u32>, DataplaneError> {
    let mut indexes: BTreeSet<u32> = Pins::allow_maps(folder)?.into_iter().collect();
    indexes.extend(endpoints.iter().flat_map(|endpoint| [endpoint.ingress, endpoint.egress]));
    // No endpoint refers to this index; its pin shows the shape of allow maps.
    indexes.remove(&0);
    indexes.retain(|index| *index < allow.capacity);
    Ok(indexes)
}

/// The allow maps at these indexes, with the entries that their pins show.
///
/// An allow map with another pin than its index says keeps its number, but counts as one that the
/// compiler never produces, so that no endpoint is switched to it.
pub(super) fn allow_maps(
    allow: &Hash<u32, u32>,
    folder: &Path,
    indexes: &BTreeSet<u32>,
) -> Result<Vec<Step>, DataplaneError> {
    let mut steps = Vec::new();
    for &allow_map in indexes {
        let Some(id) = allow.get(&allow_map)? else { continue };
        let entries = match MapData::from_pin(pins::allow_map(folder, allow_map)) {
            Ok(map) if map.info().is_ok_and(|info| info.id() == id) => allow_map::entries(map),
            _ => None,
        };
        let unknown = || {
            vec![PortSet { identity: u32::MAX, protocols: every::PROTOCOL, ..PortSet::default() }]
        };
        steps.push(Step::PutAllowMap { allow_map, entries: entries.unwrap_or_else(unknown) });
    }
    Ok(steps)
}

/// Removes the pins of allow maps that are not among those `found` at their indexes: an agent ended
/// between the two writes.
pub(super) fn remove_stale_pins(folder: &Path, found: &[Step]) -> Result<(), DataplaneError> {
    for pinned in Pins::allow_maps(folder)?.into_iter().filter(|number| *number != 0) {
        let is_it =
            |step: &_| matches!(step, Step::PutAllowMap { allow_map, .. } if *allow_map == pinned);
        if !found.iter().any(is_it) {
            pins::remove(&pins::allow_map(folder, pinned))?;
        }
    }
    Ok(())
}

pub(super) fn canonical(address: Address) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}

/// A key of `blocks`, IPv4 under the mapped prefix.
fn block(length: u32, data: Address) -> Option<IpNetwork> {
    let address = canonical(data);
    let length = match address {
        IpAddr::V4(_) if length >= MAPPED_BITS => length - MAPPED_BITS,
        IpAddr::V4(_) => {
            return IpNetwork::new(Ipv6Addr::from(data).into(), u8::try_from(length).ok()?).ok();
        }
        IpAddr::V6(_) => length,
    };
    IpNetwork::new(address, u8::try_from(length).ok()?).ok()
}
