//! Nodes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

use super::{Labels, Snapshot};

/// What policy depends on of a Node (`core/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.addresses` of the types `InternalIP` and `ExternalIP`.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNetwork>,
    /// Addresses of its interfaces, where its own agent asked: bridges and tunnels are among them.
    pub interfaces: Vec<IpAddr>,
}

impl Node {
    /// Addresses that are known to be its own: those of the API, and those of its interfaces.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().chain(&self.interfaces).copied()
    }

    /// The first two addresses of each block of its pods, which its tunnel and its bridge have.
    ///
    /// That is how host-local IPAM and its users count; no API says it.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.pod_cidrs.iter().flat_map(|block| {
            let second = match block.network() {
                IpAddr::V4(first) => {
                    u32::from(first).checked_add(1).map(Ipv4Addr::from).map(IpAddr::V4)
                }
                IpAddr::V6(first) => {
                    u128::from(first).checked_add(1).map(Ipv6Addr::from).map(IpAddr::V6)
                }
            };
            let second = second.filter(|second| block.contains(*second));
            [block.network()].into_iter().chain(second)
        })
    }
}

/// A node of which only addresses are known.
impl From<Vec<IpAddr>> for Node {
    fn from(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }
}

impl Snapshot {
    /// Gateways of all nodes, without those that are a pod's address.
    #[must_use]
    pub fn gateways(&self) -> BTreeSet<IpAddr> {
        let mut all: BTreeSet<IpAddr> = self.nodes.values().flat_map(Node::gateways).collect();
        if !all.is_empty() {
            let pods = self.pods.values().filter(|pod| pod.is_subject());
            for address in pods.flat_map(|pod| &pod.addresses) {
                all.remove(address);
            }
        }
        all
    }
}
