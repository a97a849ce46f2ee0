//! Which pods and interfaces have not found each other, by their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::DesiredEndpoint,
    model::ObjectName,
    plan::{Interface, Interfaces},
};

/// Pods none of whose addresses is at the far end of an interface.
pub(super) fn pods_without_interface(
    endpoints: &BTreeMap<ObjectName, DesiredEndpoint>,
    interfaces: &Interfaces,
) -> Vec<ObjectName> {
    let found: BTreeSet<&IpAddr> = interfaces
        .values()
        .flat_map(|interface| &interface.addresses)
        .collect();
    endpoints
        .iter()
        .filter(|(_, endpoint)| {
            !endpoint
                .addresses
                .iter()
                .any(|address| found.contains(address))
        })
        .map(|(pod, _)| pod.clone())
        .collect()
}

/// Interfaces none of whose far addresses is a pod's.
pub(super) fn interfaces_without_pod(
    endpoints: &BTreeMap<ObjectName, DesiredEndpoint>,
    interfaces: Interfaces,
) -> Vec<Interface> {
    let known: BTreeSet<&IpAddr> = endpoints
        .values()
        .flat_map(|endpoint| &endpoint.addresses)
        .collect();
    interfaces
        .into_values()
        .filter(|interface| {
            !interface
                .addresses
                .iter()
                .any(|address| known.contains(address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn pod(name: &str, addresses: &[u8]) -> (ObjectName, DesiredEndpoint) {
        let endpoint = DesiredEndpoint {
            uid: String::new(),
            addresses: addresses.iter().copied().map(address).collect(),
            ingress: None,
            egress: None,
        };
        (ObjectName::new("default", name), endpoint)
    }

    fn interface(ifindex: u32, addresses: &[u8]) -> (u32, Interface) {
        let name = format!("veth{ifindex}");
        let addresses = addresses.iter().copied().map(address).collect();
        (
            ifindex,
            Interface {
                ifindex,
                name,
                bridge: 0,
                addresses,
            },
        )
    }

    #[test]
    fn one_shared_address_brings_pod_and_interface_together() {
        let endpoints = BTreeMap::from([pod("a", &[1, 2]), pod("b", &[3]), pod("c", &[])]);
        let interfaces =
            Interfaces::from([interface(7, &[2]), interface(8, &[4]), interface(9, &[])]);
        let pods = pods_without_interface(&endpoints, &interfaces);
        assert_eq!(
            pods,
            [
                ObjectName::new("default", "b"),
                ObjectName::new("default", "c")
            ]
        );
        let left: Vec<u32> = interfaces_without_pod(&endpoints, interfaces)
            .iter()
            .map(|interface| interface.ifindex)
            .collect();
        assert_eq!(left, [8, 9]);
    }
}
