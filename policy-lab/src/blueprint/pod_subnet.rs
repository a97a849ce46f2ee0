//! Pod subnets. Manifests do not name them, so the lab assumes the usual sizes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Blueprint;

/// Prefix length of a node's pod subnet in IPv4: the default of kube-controller-manager.
const PREFIX4: u8 = 24;
/// Prefix length of a node's pod subnet in IPv6: the default of kube-controller-manager.
const PREFIX6: u8 = 64;

/// The subnet of a pod's address.
pub(crate) fn pod_subnet(address: IpAddr) -> Option<IpNetwork> {
    let prefix = if address.is_ipv4() { PREFIX4 } else { PREFIX6 };
    let network = IpNetwork::new(address, prefix).ok()?;
    IpNetwork::new(network.network(), prefix).ok()
}

/// The node that is the gateway of its pods at `address`.
///
/// This is the first address of a subnet, as the `host-local` plugin selects it, provided that all
/// pods in the subnet are on one node.
pub(super) fn gateway_of(plan: &Blueprint, address: IpAddr) -> Option<&str> {
    let network = pod_subnet(address)?;
    if network.iter().nth(1) != Some(address) {
        return None;
    }
    let inside = |at: &IpAddr| network.contains(*at);
    let mut nodes = plan.pods.iter().filter(|pod| pod.addresses.iter().any(inside));
    let node = &nodes.next()?.node;
    nodes.all(|pod| pod.node == *node).then_some(node)
}
