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
use policy_core::{
    connections::regions,
    model::{ClusterPeer, Peer, Protocol, Snapshot},
};

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
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    for region in regions(sides.into_iter().flat_map(blocks)) {
        let usual = OUTSIDE.into_iter().find(|at| region.contains(*at) && !taken.contains(at));
        addresses.extend(usual.or_else(|| region.first_address(taken)));
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
    named.chain(networks)
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
