//! Selects the gateway address of each pod subnet.
//!
//! Input: the pods' addresses. Output: per subnet the address that its pods use as gateway. Manifests
//! name no subnets, so [`pod_subnet`] assumes the usual size: pod 10.244.0.5 is in 10.244.0.0/24,
//! where the gateway is 10.244.0.1, or the next free address where a machine has that one.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::blueprint::{Blueprint, pod_subnet};

/// A subnet and the gateway address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    /// The gateway of its pods, an address of their node.
    pub(super) gateway: IpAddr,
    /// Prefix length.
    pub(super) prefix: u8,
    /// Whether all its addresses are of pods on one node, so that it can be on one link.
    pub(super) exclusive: bool,
}

/// The subnets of all pods.
#[derive(Debug, Default)]
pub(super) struct Subnets {
    by_network: BTreeMap<IpNetwork, Subnet>,
}

impl Subnets {
    /// Finds the subnets of all pods and their gateways.
    pub(super) fn new(plan: &Blueprint) -> Self {
        let mut subnets = Self::default();
        let mut nodes = BTreeMap::<IpNetwork, &str>::new();
        for pod in &plan.pods {
            for network in pod.addresses.iter().filter_map(|address| pod_subnet(*address)) {
                let node = *nodes.entry(network).or_insert(&pod.node);
                let subnet = subnets.by_network.entry(network).or_insert_with(|| Subnet {
                    gateway: gateway(network, plan),
                    prefix: network.prefix(),
                    exclusive: !has_other_machines(network, plan),
                });
                subnet.exclusive &= node == pod.node;
            }
        }
        subnets
    }

    /// The subnet of a pod's address.
    pub(super) fn of(&self, address: IpAddr) -> Option<Subnet> {
        pod_subnet(address).and_then(|network| self.by_network.get(&network).copied())
    }
}

/// Whether a node, a host or a Service has an address in the subnet.
fn has_other_machines(network: IpNetwork, plan: &Blueprint) -> bool {
    let others = plan.nodes.values().chain(plan.hosts.values()).flatten();
    others.chain(&plan.frontends).any(|address| network.contains(*address))
}

/// The first free address of the subnet, as the `host-local` plugin selects it.
fn gateway(network: IpNetwork, plan: &Blueprint) -> IpAddr {
    let is_free = |at: &IpAddr| {
        plan.gateways.contains_key(at)
            || !plan.owners.contains_key(at) && !plan.frontends.contains(at)
    };
    let mut candidates = network.iter().skip(1);
    candidates.find(is_free).unwrap_or_else(|| network.network())
}
