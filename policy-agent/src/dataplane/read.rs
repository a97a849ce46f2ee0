//! What the maps hold, as the steps that would write it.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use policy_common::{
    address::{Address, MAPPED_BITS},
    endpoint::{Endpoint, OWN_NODE},
};
use policy_core::{
    desired::{Frontend, NodeKind},
    model::Protocol,
    plan::Step,
};

use super::{error::DataplaneError, key, maps::Maps};

/// Everything but contents and endpoints, which are more than their entries.
pub(super) fn tables(maps: &Maps) -> Result<Vec<Step>, DataplaneError> {
    let mut steps = Vec::new();
    let chunks = maps.port_chunks.entries()?.into_iter();
    steps.extend(chunks.map(|(_, chunk)| Step::PutPortChunk(chunk)));
    let identities = maps.identities.entries()?.into_iter();
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
    for (key, value) in maps.frontends.entries()? {
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
        kind: if kind == OWN_NODE { NodeKind::Own } else { NodeKind::Other },
    }));
    Ok(steps)
}

/// Every endpoint.
pub(super) fn endpoints(maps: &Maps) -> Result<Vec<Endpoint>, DataplaneError> {
    Ok(maps.endpoints.entries()?.into_iter().map(|(_, endpoint)| endpoint).collect())
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
