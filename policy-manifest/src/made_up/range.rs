//! Reserved ranges of addresses, and the choice among them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use policy_core::model::{ClusterPeer, IpBlock, Peer, Snapshot};

use crate::Host;

/// Candidates, the preferred ones first: ranges that nobody routes, then parts of private ones.
#[rustfmt::skip]
const CANDIDATES: [(IpAddr, u8); 10] = [
    (IpAddr::V4(Ipv4Addr::new(240, 0, 0, 0)), 12),                          // RFC 1112
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),                         // RFC 2544
    (IpAddr::V4(Ipv4Addr::new(100, 112, 0, 0)), 12),                        // RFC 6598
    (IpAddr::V4(Ipv4Addr::new(172, 24, 0, 0)), 13),                         // RFC 1918
    (IpAddr::V4(Ipv4Addr::new(10, 240, 0, 0)), 12),                         // RFC 1918
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),                        // RFC 1918
    (IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), 64),            // RFC 6666
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xf000, 0, 0, 0, 0, 0)), 48),  // RFC 3849
    (IpAddr::V6(Ipv6Addr::new(0xfdff, 0xffff, 0xffff, 0, 0, 0, 0, 0)), 48), // RFC 4193
    (IpAddr::V6(Ipv6Addr::new(0xfeff, 0, 0, 0, 0, 0, 0, 0)), 64),           // RFC 3879
];

/// A range from which addresses are taken in order.
pub(super) struct Range {
    block: IpNetwork,
    last: u32,
}

impl Range {
    /// The next address; `None` where the range is used up.
    pub(super) fn next(&mut self) -> Option<IpAddr> {
        self.last = self.last.checked_add(1)?;
        let address = match self.block.network() {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first).checked_add(self.last)?).into()),
            IpAddr::V6(first) => {
                IpAddr::V6((u128::from(first).checked_add(u128::from(self.last))?).into())
            }
        };
        self.block.contains(address).then_some(address)
    }
}

/// For each family the range that holds no address of the cluster, and is in the fewest blocks.
pub(super) fn choose(snapshot: &Snapshot, hosts: &BTreeMap<String, Host>) -> Vec<Range> {
    let taken = taken(snapshot, hosts);
    let candidates =
        CANDIDATES.into_iter().filter_map(|(at, length)| IpNetwork::new(at, length).ok());
    let cost = |candidate: &IpNetwork| {
        let is_taken = taken.iter().any(|address| candidate.contains(*address));
        let in_blocks = blocks(snapshot).filter(|block| overlap(block, candidate)).count();
        (is_taken, in_blocks + networks(snapshot).filter(|one| touch(one, candidate)).count())
    };
    let (four, six): (Vec<_>, Vec<_>) = candidates.partition(IpNetwork::is_ipv4);
    let best = |family: Vec<IpNetwork>| family.into_iter().min_by_key(cost);
    let chosen = [best(four), best(six)].into_iter().flatten();
    chosen.map(|block| Range { block, last: 0 }).collect()
}

/// Addresses that something in the manifests has.
fn taken(snapshot: &Snapshot, hosts: &BTreeMap<String, Host>) -> Vec<IpAddr> {
    let pods = snapshot.pods.values().flat_map(|pod| &pod.addresses);
    let nodes = snapshot.nodes.values();
    let blocks = nodes.clone().flat_map(|node| node.pod_cidrs.iter().map(IpNetwork::network));
    let services = snapshot.services.values();
    let services = services.flat_map(|one| one.cluster_ips.iter().chain(&one.external_ips));
    let hosts = hosts.values().flat_map(|host| &host.addresses);
    let all = pods.chain(nodes.flat_map(|node| &node.addresses)).chain(services).chain(hosts);
    all.copied().chain(blocks).collect()
}

fn blocks(snapshot: &Snapshot) -> impl Iterator<Item = &IpBlock> {
    let policies = snapshot.policies.values();
    let rules = policies.flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
    rules.flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
        Peer::Block(block) => Some(block),
        Peer::Pods { .. } => None,
    })
}

fn networks(snapshot: &Snapshot) -> impl Iterator<Item = &IpNetwork> {
    let policies = snapshot.cluster_policies.values();
    let rules = policies.flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
    let networks = rules.flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
        ClusterPeer::Networks(networks) => Some(networks),
        ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown(_) => None,
    });
    networks.flatten()
}

/// Whether an address of the range may be in the block.
fn overlap(block: &IpBlock, range: &IpNetwork) -> bool {
    let covers = |except: &IpNetwork| {
        except.is_ipv4() == range.is_ipv4()
            && except.prefix() <= range.prefix()
            && except.contains(range.network())
    };
    touch(&block.cidr, range) && !block.except.iter().any(covers)
}

fn touch(a: &IpNetwork, b: &IpNetwork) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a.contains(b.network()) || b.contains(a.network()))
}
