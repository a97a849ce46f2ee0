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
mod layout;
mod neighbours;
mod pod;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use policy_agent::net::build::End;

use crate::blueprint::{Blueprint, Machine};
use layout::{FIRST, default_destination};

pub use layout::{FABRIC_INTERFACE, Layout, Piece, Topology, UPLINK};

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

#[cfg(test)]
mod tests;
