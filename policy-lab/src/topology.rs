//! Lays out the network of a lab: links, addresses and routes as data. Pure.
//!
//! Input: a [`Blueprint`] and a [`Topology`]. Output: a [`Layout`], the pieces to build per namespace.
//! One switch, the fabric, joins all nodes and hosts; pods are joined to their node as one of two
//! CNI plugins does it. Machines on the fabric have a route to every other one and, through its
//! node, to every pod:
//!
//! ```text
//! fabric    Bridge fabric; per node or host: Veth to its eth0, BridgePort, Up
//! node/a    Up lo, Up eth0; Address 192.168.1.1/32; Route 192.168.1.2/32 to node b;
//!           Veth to the pod's eth0; Route 10.244.0.5/32 over it; Route 10.244.1.5 via 192.168.1.2
//! ns/web    Up lo, Up eth0; Address 10.244.0.5/32; default Route via 10.244.0.1
//! ```

mod gateway;
mod neighbours;
mod pod;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use policy_agent::net::build::End;

use crate::blueprint::{Blueprint, Machine};

/// How pods are joined to their node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// A routed veth per pod, as the `ptp` plugin makes it.
    #[default]
    Ptp,
    /// A bridge per node with the pods' veths as ports, as the `bridge` plugin makes it.
    Bridge,
}

/// Index of a machine's interface on the fabric, and of a pod's interface.
pub const UPLINK: u32 = 2;

/// Name of a machine's interface on the fabric.
pub const FABRIC_INTERFACE: &str = "eth0";

/// Index of a node's bridge.
const BRIDGE: u32 = 3;

/// First index of the switch's ports; a node's veths of pods start at the index after it.
const FIRST: u32 = 10;

/// A link, address, route or neighbour entry to create in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A veth pair to another machine.
    Veth {
        /// The end in this namespace.
        near: End,
        /// The end in the other machine's namespace.
        far: End,
        /// The other machine.
        to: Machine,
    },
    /// A bridge that is up.
    Bridge {
        /// Its index and name.
        bridge: End,
        /// Whether netfilter sees its IP frames.
        netfilter: bool,
    },
    /// Makes an interface a port of a bridge.
    BridgePort {
        /// The interface.
        index: u32,
        /// The bridge.
        bridge: u32,
        /// Whether the bridge may send a frame out of the port that it came in by.
        hairpin: bool,
    },
    /// Sets an interface up.
    Up(u32),
    /// Sets a hardware address; this comes before [`Self::Up`].
    HardwareAddress {
        /// The interface.
        index: u32,
        /// The address.
        hardware: [u8; 6],
    },
    /// A permanent neighbour entry.
    Neighbour {
        /// The interface.
        index: u32,
        /// The neighbour's address.
        address: IpAddr,
        /// The neighbour's hardware address.
        hardware: [u8; 6],
    },
    /// An address.
    Address {
        /// The interface.
        index: u32,
        /// The address.
        address: IpAddr,
        /// Prefix length of the subnet on the link.
        prefix: u8,
    },
    /// A route.
    Route {
        /// The destination.
        to: IpNetwork,
        /// The gateway; `None` where the destination is on the link.
        via: Option<IpAddr>,
        /// The interface.
        index: u32,
    },
}

/// The pieces of each namespace, in the order in which they are created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Pieces of the switch.
    pub fabric: Vec<Piece>,
    /// Pieces of each machine.
    pub machines: BTreeMap<Machine, Vec<Piece>>,
}

/// Lays out the network of a blueprint.
#[must_use]
pub fn lay_out(plan: &Blueprint, topology: Topology) -> Layout {
    let mut layout = Layout::default();
    join_fabric(&mut layout, plan);
    pod::join_pods(&mut layout, plan, topology);
    for (machine, pieces) in &mut layout.machines {
        if !matches!(machine, Machine::Pod(_)) {
            route_to_pods(pieces, machine, plan);
        }
    }
    layout
}

/// The machines on the fabric, nodes before hosts, with their addresses.
fn on_fabric(plan: &Blueprint) -> impl Iterator<Item = (Machine, &Vec<IpAddr>)> {
    let nodes = plan.nodes.iter().map(|(name, at)| (Machine::Node(name.clone()), at));
    nodes.chain(plan.hosts.iter().map(|(name, at)| (Machine::Host(name.clone()), at)))
}

/// Joins nodes and hosts by a switch; each has the addresses of all others on its link.
fn join_fabric(layout: &mut Layout, plan: &Blueprint) {
    let switch = End { index: UPLINK, name: "fabric".to_owned() };
    layout.fabric.push(Piece::Bridge { bridge: switch, netfilter: false });
    for (index, (machine, addresses)) in (FIRST..).zip(on_fabric(plan)) {
        let near = End { index, name: format!("port{index}") };
        let far = End { index: UPLINK, name: FABRIC_INTERFACE.to_owned() };
        layout.fabric.push(Piece::Veth { near, far, to: machine.clone() });
        layout.fabric.push(Piece::BridgePort { index, bridge: UPLINK, hairpin: false });
        layout.fabric.push(Piece::Up(index));

        let pieces = layout.machines.entry(machine.clone()).or_default();
        pieces.extend([Piece::Up(1), Piece::Up(UPLINK)]);
        pieces.extend(addresses.iter().map(|address| Piece::Address {
            index: UPLINK,
            address: *address,
            prefix: IpNetwork::from(*address).prefix(),
        }));
        let others = on_fabric(plan).filter(|(other, _)| *other != machine);
        pieces.extend(others.flat_map(|(_, at)| at).map(|address| Piece::Route {
            to: IpNetwork::from(*address),
            via: None,
            index: UPLINK,
        }));
    }
}

/// Adds the routes of a node or host to the pods of other nodes, and its default route.
///
/// A node needs a default route because the kernel looks up a route before netfilter translates
/// the address of a Service. The default route of a host leads to the first node, so that it
/// reaches Services as clients outside a cluster do, also those that are created later.
fn route_to_pods(pieces: &mut Vec<Piece>, machine: &Machine, plan: &Blueprint) {
    for pod in &plan.pods {
        if *machine == Machine::Node(pod.node.clone()) {
            continue;
        }
        pieces.extend(routes_through(plan, &pod.node, &pod.addresses));
    }
    let others =
        plan.gateways.iter().filter(|(_, node)| *machine != Machine::Node((*node).clone()));
    pieces.extend(others.flat_map(|(gateway, node)| routes_through(plan, node, [gateway])));
    match machine {
        Machine::Node(_) => {
            let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            pieces.extend(families.map(|family| Piece::Route {
                to: default_destination(family),
                via: None,
                index: UPLINK,
            }));
        }
        Machine::Host(_) => {
            let hops = plan.nodes.values().next().into_iter().flatten();
            let mut families = BTreeSet::new();
            pieces.extend(hops.filter(|hop| families.insert(hop.is_ipv4())).map(|hop| {
                Piece::Route { to: default_destination(*hop), via: Some(*hop), index: UPLINK }
            }));
        }
        Machine::Pod(_) => {}
    }
}

/// Routes to `destinations` through a node, by its address in the family of each.
fn routes_through<'a>(
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

/// The block of all addresses of the family of `address`: the destination of a default route.
fn default_destination(address: IpAddr) -> IpNetwork {
    let first = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNetwork::new(first, 0).expect("0 is a valid prefix length")
}

#[cfg(test)]
mod tests;
