//! The gateway address in each subnet of pods.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::blueprint::{Blueprint, around};

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

/// Whether something else than pods is in the subnet.
fn foreign(network: IpNetwork, plan: &Blueprint) -> bool {
    let outer = plan.nodes.values().chain(plan.hosts.values()).flatten();
    outer.chain(&plan.frontends).any(|address| network.contains(*address))
}

/// The first address of the subnet, as `host-local` chooses it, unless somebody has it.
fn gateway(network: IpNetwork, plan: &Blueprint) -> IpAddr {
    let free = |at: &IpAddr| {
        plan.gateways.contains_key(at)
            || !plan.owners.contains_key(at) && !plan.frontends.contains(at)
    };
    let mut candidates = network.iter().skip(1);
    candidates.find(free).unwrap_or_else(|| network.network())
}
