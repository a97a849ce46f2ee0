//! Reads the maps back, as the steps that would write their content.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use policy_common::address::{Address, MAPPED_BITS};
use policy_core::{
    desired::{Frontend, NodeKind},
    model::Protocol,
    plan::{Actual, Step},
};

use super::{error::DataplaneError, key, maps::Maps, named::Hash};

/// Every table except allow maps and endpoints, which need more than their entries.
pub(super) fn tables(maps: &Maps) -> Result<Vec<Step>, DataplaneError> {
    let mut steps = Vec::new();
    let chunks = maps.port_chunks.entries()?.into_iter();
    // A value that carries another key is ignored by the programs, and so it is here.
    let chunks = chunks.filter(|(key, chunk)| *key == chunk.key);
    steps.extend(chunks.map(|(_, chunk)| Step::PutPortChunk(chunk)));
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
pub(super) fn endpoints(maps: &Maps) -> Result<Vec<Step>, DataplaneError> {
    let endpoints = maps.endpoints.entries()?.into_iter();
    let endpoints = endpoints.filter(|(ifindex, endpoint)| *ifindex == endpoint.ifindex);
    Ok(endpoints.map(|(_, endpoint)| Step::PutEndpoint(endpoint)).collect())
}

/// The used indexes of `allow`, each as if it held what was written there.
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
