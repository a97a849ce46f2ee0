//! Pods' subnets, which manifests do not name, and the gateway address in each.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::lab::blueprint::Blueprint;

/// Prefix of a node's pods in IPv4, as kubeadm's clusters have it by default.
const PREFIX4: u8 = 24;
/// In IPv6.
const PREFIX6: u8 = 64;

/// A subnet and the gateway address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    /// Address of the node that the pods of the subnet have for a gateway.
    pub(super) gateway: IpAddr,
    /// Length of the prefix.
    pub(super) prefix: u8,
    /// Whether every address in it is a pod's of one node, so that it can be on one link.
    pub(super) exclusive: bool,
}

/// The subnets of all pods.
#[derive(Debug, Default)]
pub(super) struct Subnets {
    by_network: BTreeMap<IpNetwork, Subnet>,
}

impl Subnets {
    /// Derives them from the pods' addresses.
    pub(super) fn derive(plan: &Blueprint) -> Self {
        let mut subnets = Self::default();
        let mut nodes = BTreeMap::<IpNetwork, &str>::new();
        for pod in &plan.pods {
            for network in pod.addresses.iter().filter_map(|address| around(*address)) {
                let node = *nodes.entry(network).or_insert(&pod.node);
                let subnet = subnets.by_network.entry(network).or_insert_with(|| Subnet {
                    gateway: gateway(network, plan),
                    prefix: network.prefix(),
                    exclusive: !foreign(network, plan),
                });
                subnet.exclusive &= node == pod.node;
            }
        }
        subnets
    }

    /// The subnet of a pod's address.
    pub(super) fn of(&self, address: IpAddr) -> Option<Subnet> {
        around(address).and_then(|network| self.by_network.get(&network).copied())
    }
}

/// The subnet around an address.
fn around(address: IpAddr) -> Option<IpNetwork> {
    let prefix = if address.is_ipv4() { PREFIX4 } else { PREFIX6 };
    let network = IpNetwork::new(address, prefix).ok()?;
    IpNetwork::new(network.network(), prefix).ok()
}

/// Whether something else than pods is in the subnet.
fn foreign(network: IpNetwork, plan: &Blueprint) -> bool {
    let outer = plan.nodes.values().chain(plan.hosts.values()).flatten();
    outer.chain(&plan.frontends).any(|address| network.contains(*address))
}

/// The first address of the subnet, as `host-local` chooses it, unless somebody has it.
fn gateway(network: IpNetwork, plan: &Blueprint) -> IpAddr {
    let free = |at: &IpAddr| !plan.owners.contains_key(at) && !plan.frontends.contains(at);
    let mut candidates = network.iter().skip(1);
    candidates.find(free).unwrap_or_else(|| network.network())
}
