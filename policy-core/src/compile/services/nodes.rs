//! Addresses of nodes: where node ports are reached, and where traffic of a node comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    compile::{desired::NodeKind, peers::Peers, services::resolve::NodeAddresses},
    model::Snapshot,
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
        let own = own.and_then(|own| snapshot.nodes.get_key_value(own));
        let others =
            || snapshot.nodes.iter().filter(|(name, _)| own.is_none_or(|(own, _)| own != *name));
        self.gateways = others().flat_map(|(_, node)| node.gateways()).collect();
        self.with_ports.clear();
        for (name, node) in others() {
            // A gateway is a guess from the node's pod network; a pod with the address is certain.
            let free = node.gateways().filter(|address| !peers.is_pods(*address));
            let all = node.addresses.iter().copied().chain(free).collect();
            self.with_ports.insert(name.clone(), all);
        }
        let others = self.with_ports.values().flatten();
        let mut kinds: BTreeMap<IpAddr, NodeKind> =
            others.map(|address| (*address, NodeKind::Other)).collect();
        if let Some((name, node)) = own {
            // Last, because an address that another node has too is its own.
            let own = node.own_addresses().chain(node.probe_sources.iter().copied());
            kinds.extend(own.map(|address| (address, NodeKind::Own)));
            // kube-proxy answers at none of the probe sources.
            self.with_ports.insert(name.clone(), node.own_addresses().collect());
        }
        kinds
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
