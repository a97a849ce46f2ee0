//! What the maps hold, as the steps that would write it.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use policy_common::address::{Address, MAPPED_BITS};
use policy_core::{
    desired::{Frontend, NodeKind},
    model::Protocol,
    plan::{Actual, Step},
};

use super::{error::DataplaneError, key, maps::Maps, named::Hash};

/// Everything but contents and endpoints, which are more than their entries.
pub(super) fn tables(maps: &Maps) -> Result<Vec<Step>, DataplaneError> {
    let mut steps = Vec::new();
    let chunks = maps.port_chunks.entries()?.into_iter();
    // A value that repeats another key says nothing to the classifiers.
    let chunks = chunks.filter(|(key, chunk)| *key == chunk.key);
    steps.extend(chunks.map(|(_, chunk)| Step::PutPortChunk(chunk)));
    let identities = maps.identities.entries()?.into_iter();
    let identities = identities.filter(|(address, value)| *address == value.address);
    steps.extend(identities.map(|(address, value)| Step::PutIdentity {
        address: canonical(address),
        identity: value.identity,
    }));
    for (key, identity) in maps.blocks.entries()? {
        // What stands between the families is no policy's.
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

/// Every endpoint; a value under another's key is none.
pub(super) fn endpoints(maps: &Maps) -> Result<Vec<Step>, DataplaneError> {
    let endpoints = maps.endpoints.entries()?.into_iter();
    let endpoints = endpoints.filter(|(ifindex, endpoint)| *ifindex == endpoint.ifindex);
    Ok(endpoints.map(|(_, endpoint)| Step::PutEndpoint(endpoint)).collect())
}

/// Places of `allow` that are taken, as if each held what was written.
pub(super) fn places(
    allow: &Hash<u32, u32>,
    written: &Actual,
) -> Result<Vec<Step>, DataplaneError> {
    let mut steps = Vec::new();
    for content in 1..allow.capacity {
        if allow.get(&content)?.is_some() {
            let entries = written.content(content).unwrap_or_default().to_vec();
            steps.push(Step::PutContent { content, entries });
        }
    }
    Ok(steps)
}

fn canonical(address: Address) -> IpAddr {
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
