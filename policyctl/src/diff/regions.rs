//! Chooses addresses and ports that stand for all others.
//!
//! Comparing every address at every port is impossible, and not needed: the blocks that policies
//! name split all addresses into regions, and policies treat all addresses of one region alike. One
//! address of each region is compared. For example, where the two sides name 203.0.113.0/24 and
//! 203.0.113.0/26:
//!
//! ```text
//! region                                 address that stands for it
//! 203.0.113.0/26                         203.0.113.0
//! 203.0.113.0/24 without the /26         203.0.113.64
//! 0.0.0.0/0 without the /24              198.51.100.254, which policies hardly name
//! ```
//!
//! Ports work the same way: the first and last port of each range, the port after it, the ports
//! that pods declare, and for each protocol one port that nothing names.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use policy_core::model::{ClusterPeer, Peer, Protocol, Snapshot};

use crate::segments::{cluster_rules, ranges, rules};

/// Preferred addresses outside of the cluster: those for documentation (RFC 5737, RFC 3849), as
/// policies hardly name them.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 254)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xfe)),
];

/// One address of each region, if the region has one that is not `taken`.
///
/// A region is a block that policies name, without the smaller blocks inside of it; the whole
/// family is the outermost one.
pub(super) fn addresses(sides: [&Snapshot; 2], taken: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let mut blocks: BTreeSet<IpNetwork> = sides.into_iter().flat_map(blocks).collect();
    blocks.extend(OUTSIDE.map(|address| around(address, 0)));
    let usual = OUTSIDE.map(|address| (innermost(&blocks, address), address));
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    for block in &blocks {
        let preferred = usual.iter().find(|(around, at)| around == block && !taken.contains(at));
        let preferred = preferred.map(|(_, address)| *address);
        addresses.extend(preferred.or_else(|| first_of(*block, &blocks, taken)));
    }
    // A rule for nodes splits regions further: it matches single addresses, in whatever block they
    // are.
    let peers = || sides.into_iter().flat_map(cluster_rules).flat_map(|rule| &rule.peers);
    if peers().any(|peer| matches!(peer, ClusterPeer::Nodes(_))) {
        let nodes = sides.into_iter().flat_map(|side| side.nodes.values());
        addresses.extend(nodes.flat_map(|node| node.addresses.iter().copied()));
    }
    addresses.retain(|address| !taken.contains(address));
    addresses
}

/// The block of some length around an address.
fn around(address: IpAddr, length: u8) -> IpNetwork {
    let block = IpNetwork::new(address, length).unwrap_or(address.into());
    IpNetwork::new(block.network(), block.prefix()).unwrap_or(block)
}

/// The smallest block around an address.
fn innermost(blocks: &BTreeSet<IpNetwork>, address: IpAddr) -> IpNetwork {
    let longest = IpNetwork::from(address).prefix();
    let mut all = (0..=longest).rev().map(|length| around(address, length));
    all.find(|block| blocks.contains(block)).unwrap_or(around(address, 0))
}

/// The first address of a block that is in none of the blocks inside of it, and not taken: of
/// 10.0.0.0/24 with 10.0.0.0/25 inside it is 10.0.0.128.
fn first_of(
    block: IpNetwork,
    blocks: &BTreeSet<IpNetwork>,
    taken: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let mut address = block.network();
    // In a sorted set each block comes after those that contain it, and inner blocks by address.
    let inner = blocks.range(block..).skip(1).take_while(|inner| block.contains(inner.network()));
    for inner in inner {
        while taken.contains(&address) && address < inner.network() {
            address = next(address)?;
        }
        if address < inner.network() {
            return Some(address);
        }
        if inner.contains(address) {
            address = next(inner.broadcast())?;
        }
    }
    while taken.contains(&address) {
        address = next(address)?;
    }
    block.contains(address).then_some(address)
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => Some(Ipv4Addr::from(u32::from(v4).checked_add(1)?).into()),
        IpAddr::V6(v6) => Some(Ipv6Addr::from(u128::from(v6).checked_add(1)?).into()),
    }
}

/// Blocks, excepts and networks that policies name.
fn blocks(side: &Snapshot) -> impl Iterator<Item = IpNetwork> {
    let named = rules(side).flat_map(|rule| &rule.peers).flat_map(|peer| match peer {
        Peer::Block(block) => {
            let mut all = block.except.clone();
            all.push(block.cidr);
            all
        }
        Peer::Pods { .. } => Vec::new(),
    });
    let networks = cluster_rules(side).flat_map(|rule| &rule.peers).flat_map(|peer| match peer {
        ClusterPeer::Networks(networks) => networks.clone(),
        ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown(_) => Vec::new(),
    });
    named.chain(networks).map(|block| around(block.ip(), block.prefix()))
}

/// The ports that pods declare, those at the ends of the ranges that policies name, and for each
/// protocol one that nothing names.
pub(super) fn ports(sides: [&Snapshot; 2]) -> Vec<(u16, Protocol)> {
    let declared = sides.into_iter().flat_map(|side| side.pods.values());
    let declared = declared.flat_map(|pod| &pod.ports).map(|port| (port.port, port.protocol));
    let mut ports: BTreeSet<(u16, Protocol)> = declared.collect();
    let ranges: BTreeSet<_> = sides.into_iter().flat_map(ranges).collect();
    for (protocol, first, last) in &ranges {
        // The port after a range stands for those around it.
        let ends = [Some(*first), Some(*last), last.checked_add(1)].into_iter().flatten();
        ports.extend(ends.map(|number| (number, *protocol)));
    }
    for protocol in Protocol::ALL {
        let named = |number: u16| {
            let mut ranges = ranges.iter().filter(|range| range.0 == protocol);
            ports.contains(&(number, protocol))
                || ranges.any(|(_, first, last)| (*first..=*last).contains(&number))
        };
        let free = (1..=u16::MAX).rev().find(|number| !named(*number));
        ports.extend(free.map(|number| (number, protocol)));
    }
    ports.retain(|(number, _)| *number > 0);
    ports.into_iter().collect()
}
