//! Addresses of nodes: where node ports are reached, and where traffic of a node comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    compile::{desired::NodeKind, peers::Peers, services::resolve::NodeAddresses},
    model::{Node, Snapshot},
};

/// What the compiler keeps of the nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// Addresses that have node ports and host ports, by node.
    with_ports: NodeAddresses,
    /// Gateways of other nodes, also those that are a pod's address.
    gateways: BTreeSet<IpAddr>,
}

impl Nodes {
    /// Takes over the nodes of a snapshot; returns their addresses as seen from the scope's node.
    pub(super) fn update(
        &mut self,
        snapshot: &Snapshot,
        own: Option<&str>,
        peers: &Peers,
    ) -> BTreeMap<IpAddr, NodeKind> {
        let is_own = |name: &str| Some(name) == own;
        let others = snapshot.nodes.iter().filter(|(name, _)| !is_own(name));
        self.gateways = others.flat_map(|(_, node)| node.gateways()).collect();
        let addresses = |(name, node): (&String, &Node)| {
            let all: BTreeSet<IpAddr> = if is_own(name) {
                node.own_addresses().collect()
            } else {
                // A gateway is a guess from the node's pod network; a pod with the address is certain.
                let free = node.gateways().filter(|address| !peers.is_pods(*address));
                node.addresses.iter().copied().chain(free).collect()
            };
            (name.clone(), all)
        };
        self.with_ports = snapshot.nodes.iter().map(addresses).collect();
        // The own node's come last: an address that another node has too is its own.
        let (own, others): (Vec<_>, Vec<_>) =
            self.with_ports.iter().partition(|(name, _)| is_own(name));
        let others = others.into_iter().flat_map(|(_, all)| all);
        // kube-proxy answers at none of the probe sources.
        let probe_sources = snapshot.nodes.iter().filter(|(name, _)| is_own(name));
        let probe_sources = probe_sources.flat_map(|(_, node)| &node.probe_sources);
        let own = own.into_iter().flat_map(|(_, all)| all).chain(probe_sources);
        let others = others.map(|address| (*address, NodeKind::Other));
        others.chain(own.map(|address| (*address, NodeKind::Own))).collect()
    }

    /// Addresses that have node ports and host ports, by node.
    pub(super) fn with_ports(&self) -> &NodeAddresses {
        &self.with_ports
    }

    /// Whether an address is taken for a node's while no pod has it.
    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateways.contains(&address)
    }
}
