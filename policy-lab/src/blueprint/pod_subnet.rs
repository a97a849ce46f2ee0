//! Pods' subnets, which manifests do not name.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Blueprint;

/// Prefix of a node's pods in IPv4, as kubeadm's clusters have it by default.
const PREFIX4: u8 = 24;
/// In IPv6.
const PREFIX6: u8 = 64;

/// The subnet around a pod's address.
pub(crate) fn around(address: IpAddr) -> Option<IpNetwork> {
    let prefix = if address.is_ipv4() { PREFIX4 } else { PREFIX6 };
    let network = IpNetwork::new(address, prefix).ok()?;
    IpNetwork::new(network.network(), prefix).ok()
}

/// The node whose pods have `address` for a gateway: the first one of their subnet, as
/// `host-local` chooses it, where the subnet holds pods of that node alone.
pub(super) fn gateway_of(plan: &Blueprint, address: IpAddr) -> Option<&str> {
    let network = around(address)?;
    if network.iter().nth(1) != Some(address) {
        return None;
    }
    let inside = |at: &IpAddr| network.contains(*at);
    let mut nodes = plan.pods.iter().filter(|pod| pod.addresses.iter().any(inside));
    let node = &nodes.next()?.node;
    nodes.all(|pod| pod.node == *node).then_some(node)
}
