//! Addresses of nodes: where node ports are reached, and where traffic of a node comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    compile::{desired::NodeKind, peers::Peers},
    model::{Node, Snapshot},
};

/// What the compiler keeps of the nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// Addresses that have node ports.
    with_ports: BTreeSet<IpAddr>,
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
        let others = snapshot.nodes.iter().filter(|(name, _)| Some(name.as_str()) != own);
        let of_others = others.clone().flat_map(|(_, node)| node.addresses.iter().copied());
        self.gateways = others.flat_map(|(_, node)| node.gateways()).collect();
        // A gateway is a guess from the node's pod network; a pod with the address is certain.
        let free = self.gateways.iter().filter(|address| !peers.is_pods(**address));
        let of_others: BTreeSet<IpAddr> = of_others.chain(free.copied()).collect();
        let own = own.and_then(|own| snapshot.nodes.get(own));
        let own = own.into_iter().flat_map(Node::own_addresses);
        let own = own.map(|address| (address, NodeKind::Own));
        let all = of_others.into_iter().map(|address| (address, NodeKind::Other));
        let all: BTreeMap<_, _> = all.chain(own).collect();
        self.with_ports = all.keys().copied().collect();
        all
    }

    /// Addresses that have node ports.
    pub(super) fn with_ports(&self) -> &BTreeSet<IpAddr> {
        &self.with_ports
    }

    /// Whether an address is taken for a node's while no pod has it.
    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateways.contains(&address)
    }
}
