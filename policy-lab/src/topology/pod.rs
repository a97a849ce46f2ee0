//! Joins pods to their nodes.
//!
//! `ptp`: the pod's veth is a link of its own, with the gateway's address at the node's end and a
//! route to the pod. `bridge`: the node's ends are ports of `cni0`, which has the gateway's address.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;
use policy_agent::net::build::End;

use super::{
    gateway::{Subnet, Subnets},
    layout::{BRIDGE, FIRST, Layout, Piece, Topology, UPLINK, default_destination},
    neighbours,
};
use crate::blueprint::{Blueprint, Machine, PodPlan};

/// Whether a bridge port may send a frame back to its pod.
///
/// The plugin's default is no; the configurations of clusters say yes, because otherwise a pod
/// cannot reach itself through its own Service.
const HAIRPIN: bool = true;

/// Adds the pieces of all pods, and those of the nodes that lead to them.
pub(super) fn join_pods(layout: &mut Layout, plan: &Blueprint, topology: Topology) {
    let subnets = Subnets::new(plan);
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
        let addresses = pod.addresses.iter().filter_map(|at| Some((*at, subnets.of(*at)?)));
        match topology {
            Topology::Ptp => {
                for (address, subnet) in addresses {
                    routed(&mut in_pod, address, subnet);
                    on_node.push(gateway_alone(index, subnet));
                    on_node.push(Piece::Route { to: address.into(), via: None, index });
                }
            }
            Topology::Bridge => {
                on_node.push(Piece::BridgePort { index, bridge: BRIDGE, hairpin: HAIRPIN });
                for (address, subnet) in addresses {
                    bridged(&mut in_pod, on_node, address, subnet);
                }
            }
        }
        layout.machines.insert(Machine::Pod(pod.name.clone()), in_pod);
    }
    if topology == Topology::Bridge {
        neighbours::add_static_neighbours(layout, plan, &subnets);
    }
}

/// The veth pair between a node and a pod.
fn veth(pod: &PodPlan, index: u32) -> [Piece; 2] {
    let near = End { index, name: format!("veth{index}") };
    let far = End { index: UPLINK, name: "eth0".to_owned() };
    [Piece::Veth { near, far, to: Machine::Pod(pod.name.clone()) }, Piece::Up(index)]
}

/// The gateway's address on an interface of the node, without the rest of its subnet.
fn gateway_alone(index: u32, subnet: Subnet) -> Piece {
    Piece::Address { index, address: subnet.gateway, prefix: host(subnet.gateway).prefix() }
}

/// Adds an address to a pod on a link with no other machine than the gateway.
fn routed(in_pod: &mut Vec<Piece>, address: IpAddr, subnet: Subnet) {
    in_pod.extend([
        Piece::Address { index: UPLINK, address, prefix: host(address).prefix() },
        Piece::Route { to: host(subnet.gateway), via: None, index: UPLINK },
        Piece::Route {
            to: default_destination(subnet.gateway),
            via: Some(subnet.gateway),
            index: UPLINK,
        },
    ]);
}

/// Adds an address to a pod on a bridge.
///
/// The pod's subnet is on the link where all its addresses belong to this node; otherwise the pod
/// is routed as with `ptp`.
fn bridged(in_pod: &mut Vec<Piece>, on_node: &mut Vec<Piece>, address: IpAddr, subnet: Subnet) {
    let gateway = if subnet.exclusive {
        let Subnet { gateway, prefix, .. } = subnet;
        in_pod.extend([
            Piece::Address { index: UPLINK, address, prefix },
            Piece::Route {
                to: default_destination(subnet.gateway),
                via: Some(gateway),
                index: UPLINK,
            },
        ]);
        Piece::Address { index: BRIDGE, address: gateway, prefix }
    } else {
        routed(in_pod, address, subnet);
        on_node.push(Piece::Route { to: host(address), via: None, index: BRIDGE });
        gateway_alone(BRIDGE, subnet)
    };
    if !on_node.contains(&gateway) {
        on_node.push(gateway);
    }
}

fn host(address: IpAddr) -> IpNetwork {
    IpNetwork::from(address)
}
