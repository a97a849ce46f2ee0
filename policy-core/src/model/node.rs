//! Nodes.

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{Labels, Snapshot, address_after};

/// A Node (`core/v1`): the fields that policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.addresses` of the types `InternalIP` and `ExternalIP`.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNetwork>,
    /// Addresses of its interfaces, bridges and tunnels included. Only for the agent's own node, which
    /// reads them by rtnetlink.
    pub interfaces: Vec<IpAddr>,
    /// Sources of kubelet's probes that no interface has: a service mesh rewrites them (S37).
    /// Only for the agent's own node.
    pub probe_sources: Vec<IpAddr>,
    /// Whether its own pods may send to its addresses without a rule (S38). Only for the agent's own
    /// node.
    pub is_open_to_pods: bool,
    /// Whether its annotation [`ENFORCEMENT`] asks its agent to enforce nothing.
    pub asks_for_no_enforcement: bool,
}

/// The annotation of a Node that switches enforcement off there, with the value `disabled`.
pub const ENFORCEMENT: &str = "policy-agent.io/enforcement";

/// The label with the zone of a node, which topology hints name.
const ZONE: &str = "topology.kubernetes.io/zone";

impl Node {
    /// The zone that it is in, where that is known.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.labels.get(ZONE).map(String::as_str)
    }

    /// Its addresses: those in the API, and those of its interfaces.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().chain(&self.interfaces).copied()
    }

    /// Its addresses, where its own pods may send to them without a rule; otherwise none.
    #[must_use]
    pub fn open_addresses(&self) -> BTreeSet<IpAddr> {
        self.own_addresses().filter(|_| self.is_open_to_pods).collect()
    }

    /// The first two addresses of each block of its pods: usually the node's tunnel and bridge.
    ///
    /// No API field has them. host-local IPAM and the CNIs that use it assign them in this order.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.pod_cidrs.iter().flat_map(|block| {
            let second = address_after(block.network());
            let second = second.filter(|second| block.contains(*second));
            [block.network()].into_iter().chain(second)
        })
    }
}

/// A node with addresses and nothing else.
impl From<Vec<IpAddr>> for Node {
    fn from(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }
}

impl Snapshot {
    /// Gateways of all nodes, without addresses that a pod has.
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
