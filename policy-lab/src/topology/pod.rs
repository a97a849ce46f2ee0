//! How a pod is joined to its node.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{
    BRIDGE, FIRST, Layout, Piece, Topology, UPLINK, everywhere,
    gateway::{Subnet, Subnets},
    neighbours,
};
use crate::blueprint::{Blueprint, Machine, PodPlan};
use policy_agent::net::build::End;

/// Whether a bridge port may send a frame back to its pod.
///
/// The plugin's own default is no; the configurations that clusters run it with say yes, for
/// without it a pod does not reach itself through its own Service.
const HAIRPIN: bool = true;

/// Adds the pods and their sides of the nodes.
pub(super) fn join(layout: &mut Layout, plan: &Blueprint, topology: Topology) {
    let subnets = Subnets::derive(plan);
    let mut counts = BTreeMap::<&str, u32>::new();
    for pod in &plan.pods {
        let count = counts.entry(&pod.node).or_default();
        let on_node = layout.machines.entry(Machine::Node(pod.node.clone())).or_default();
        if *count == 0 && topology == Topology::Bridge {
            let bridge = End { index: BRIDGE, name: "cni0".to_owned() };
            on_node.push(Piece::Bridge { bridge, netfilter: true });
        }
        *count += 1;
        let index = FIRST + *count;
        on_node.extend(veth(pod, index));
        let mut in_pod = vec![Piece::Up(1), Piece::Up(UPLINK)];
        let known = pod.addresses.iter().filter_map(|at| Some((*at, subnets.of(*at)?)));
        match topology {
            Topology::Ptp => {
                for (address, subnet) in known {
                    routed(&mut in_pod, address, subnet);
                    on_node.extend(beside(index, subnet));
                    on_node.push(Piece::Route { to: address.into(), via: None, index });
                }
            }
            Topology::Bridge => {
                on_node.push(Piece::Port { index, bridge: BRIDGE, hairpin: HAIRPIN });
                for (address, subnet) in known {
                    bridged(&mut in_pod, on_node, address, subnet);
                }
            }
        }
        layout.machines.insert(Machine::Pod(pod.name.clone()), in_pod);
    }
    if topology == Topology::Bridge {
        neighbours::introduce(layout, plan, &subnets);
    }
}

/// The pair between a node and a pod.
fn veth(pod: &PodPlan, index: u32) -> [Piece; 2] {
    let near = End { index, name: format!("veth{index}") };
    let far = End { index: UPLINK, name: "eth0".to_owned() };
    [Piece::Veth { near, far, to: Machine::Pod(pod.name.clone()) }, Piece::Up(index)]
}

/// The gateway's address alone, on an interface of the node.
fn beside(index: u32, subnet: Subnet) -> [Piece; 1] {
    [Piece::Address { index, address: subnet.gateway, prefix: host(subnet.gateway).prefix() }]
}

/// A pod to which nothing but the gateway is on the link.
fn routed(in_pod: &mut Vec<Piece>, address: IpAddr, subnet: Subnet) {
    in_pod.extend([
        Piece::Address { index: UPLINK, address, prefix: host(address).prefix() },
        Piece::Route { to: host(subnet.gateway), via: None, index: UPLINK },
        Piece::Route { to: everywhere(subnet.gateway), via: Some(subnet.gateway), index: UPLINK },
    ]);
}

/// A pod on a bridge: its subnet on the link if it is this node's alone, else as if routed.
fn bridged(in_pod: &mut Vec<Piece>, on_node: &mut Vec<Piece>, address: IpAddr, subnet: Subnet) {
    let gateway = if subnet.exclusive {
        let Subnet { gateway, prefix, .. } = subnet;
        in_pod.extend([
            Piece::Address { index: UPLINK, address, prefix },
            Piece::Route { to: everywhere(subnet.gateway), via: Some(gateway), index: UPLINK },
        ]);
        Piece::Address { index: BRIDGE, address: gateway, prefix }
    } else {
        routed(in_pod, address, subnet);
        on_node.push(Piece::Route { to: host(address), via: None, index: BRIDGE });
        let [alone] = beside(BRIDGE, subnet);
        alone
    };
    if !on_node.contains(&gateway) {
        on_node.push(gateway);
    }
}

fn host(address: IpAddr) -> IpNetwork {
    IpNetwork::from(address)
}
