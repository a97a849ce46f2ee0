//! How the machines of a lab are joined: links, addresses and routes as data. Pure.
//!
//! One switch, the fabric, joins nodes and hosts; every one of them knows each other one on the
//! link, and each pod behind its node. A pod is joined to its node as one of two CNI plugins does it.

mod gateway;
mod neighbours;
mod pod;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

use super::blueprint::{Blueprint, Machine};
use policy_agent::net::build::End;

/// How pods are joined to their node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// A routed veth per pod, as the `ptp` plugin makes it.
    #[default]
    Ptp,
    /// A bridge per node with the pods' veths as ports, as the `bridge` plugin makes it.
    Bridge,
}

/// Index of the interface that a machine has towards the fabric, or a pod towards its node.
pub const UPLINK: u32 = 2;

/// Name of the interface that a node or host has towards the fabric.
pub const FABRIC_END: &str = "eth0";

/// Index of a node's bridge.
const BRIDGE: u32 = 3;

/// Index of the first pod's veth, minus one; also of the first machine's in the fabric.
const FIRST: u32 = 10;

/// A thing to build in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A veth pair to another machine.
    Veth {
        /// The end in this namespace.
        near: End,
        /// The end in the other's.
        far: End,
        /// Whose namespace that is.
        to: Machine,
    },
    /// A bridge, up.
    Bridge {
        /// Its index and name.
        bridge: End,
        /// Whether its frames go through the IP hooks of netfilter.
        netfilter: bool,
    },
    /// An interface that becomes a port.
    Port {
        /// The interface.
        index: u32,
        /// The bridge.
        bridge: u32,
        /// Whether it may send a frame back where it came from.
        hairpin: bool,
    },
    /// An interface that is set up.
    Up(u32),
    /// A hardware address, before the interface is set up.
    Hardware {
        /// The interface.
        index: u32,
        /// The address.
        hardware: [u8; 6],
    },
    /// A neighbour that is known from the start.
    Neighbour {
        /// On which interface.
        index: u32,
        /// Its address.
        address: IpAddr,
        /// Its hardware address.
        hardware: [u8; 6],
    },
    /// An address.
    Address {
        /// On which interface.
        index: u32,
        /// The address.
        address: IpAddr,
        /// Length of the prefix that is on the link.
        prefix: u8,
    },
    /// A route.
    Route {
        /// Where to.
        to: IpNetwork,
        /// The next hop; none where the destination is on the link.
        via: Option<IpAddr>,
        /// Over which interface.
        index: u32,
    },
}

/// What is to be built, per namespace; `fabric` is the switch's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Links and ports of the switch.
    pub fabric: Vec<Piece>,
    /// Pieces of each machine, in the order of building.
    pub machines: BTreeMap<Machine, Vec<Piece>>,
}

/// Lays out a lab.
#[must_use]
pub fn lay_out(plan: &Blueprint, topology: Topology) -> Layout {
    let mut layout = Layout::default();
    join_fabric(&mut layout, plan);
    pod::join(&mut layout, plan, topology);
    for (machine, pieces) in &mut layout.machines {
        if !matches!(machine, Machine::Pod(_)) {
            route_to_pods(pieces, machine, plan);
        }
    }
    layout
}

/// Nodes and hosts with their addresses.
fn outer(plan: &Blueprint) -> impl Iterator<Item = (Machine, &Vec<IpAddr>)> {
    let nodes = plan.nodes.iter().map(|(name, at)| (Machine::Node(name.clone()), at));
    nodes.chain(plan.hosts.iter().map(|(name, at)| (Machine::Host(name.clone()), at)))
}

/// Joins nodes and hosts by a switch, each other's addresses on the link.
fn join_fabric(layout: &mut Layout, plan: &Blueprint) {
    let switch = End { index: UPLINK, name: "fabric".to_owned() };
    layout.fabric.push(Piece::Bridge { bridge: switch, netfilter: false });
    for (index, (machine, addresses)) in (FIRST..).zip(outer(plan)) {
        let near = End { index, name: format!("port{index}") };
        let far = End { index: UPLINK, name: FABRIC_END.to_owned() };
        layout.fabric.push(Piece::Veth { near, far, to: machine.clone() });
        layout.fabric.push(Piece::Port { index, bridge: UPLINK, hairpin: false });
        layout.fabric.push(Piece::Up(index));

        let pieces = layout.machines.entry(machine.clone()).or_default();
        pieces.extend([Piece::Up(1), Piece::Up(UPLINK)]);
        pieces.extend(addresses.iter().map(|address| Piece::Address {
            index: UPLINK,
            address: *address,
            prefix: IpNetwork::from(*address).prefix(),
        }));
        let others = outer(plan).filter(|(other, _)| *other != machine);
        pieces.extend(others.flat_map(|(_, at)| at).map(|address| Piece::Route {
            to: IpNetwork::from(*address),
            via: None,
            index: UPLINK,
        }));
    }
}

/// Routes of a node or host to the pods of other nodes, to Services, and to nowhere in particular.
///
/// A node has a default route as nodes do, or its processes could not even open a connection to
/// a Service address; a host reaches those through the first node, as from outside of a cluster, and those too that
/// will only be there later.
fn route_to_pods(pieces: &mut Vec<Piece>, machine: &Machine, plan: &Blueprint) {
    for pod in &plan.pods {
        if *machine == Machine::Node(pod.node.clone()) {
            continue;
        }
        pieces.extend(through(plan, &pod.node, &pod.addresses));
    }
    let others =
        plan.gateways.iter().filter(|(_, node)| *machine != Machine::Node((*node).clone()));
    pieces.extend(others.flat_map(|(gateway, node)| through(plan, node, [gateway])));
    match machine {
        Machine::Node(_) => {
            let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            pieces.extend(families.map(|family| Piece::Route {
                to: everywhere(family),
                via: None,
                index: UPLINK,
            }));
        }
        Machine::Host(_) => {
            let hops = plan.nodes.values().next().into_iter().flatten();
            let mut families = BTreeSet::new();
            pieces.extend(
                hops.filter(|hop| families.insert(hop.is_ipv4())).map(|hop| Piece::Route {
                    to: everywhere(*hop),
                    via: Some(*hop),
                    index: UPLINK,
                }),
            );
        }
        Machine::Pod(_) => {}
    }
}

/// Routes over the fabric to `destinations`, by the address of a node in the family of each.
fn through<'a>(
    plan: &'a Blueprint,
    node: &str,
    destinations: impl IntoIterator<Item = &'a IpAddr>,
) -> impl Iterator<Item = Piece> {
    let hops = plan.nodes.get(node).into_iter().flatten();
    destinations.into_iter().filter_map(move |to| {
        let via = hops.clone().find(|hop| hop.is_ipv4() == to.is_ipv4())?;
        Some(Piece::Route { to: IpNetwork::from(*to), via: Some(*via), index: UPLINK })
    })
}

/// The block of every address of the family of `address`.
fn everywhere(address: IpAddr) -> IpNetwork {
    let first = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNetwork::new(first, 0).expect("a prefix may have no bits")
}

#[cfg(test)]
mod tests;
