//! Where the machines of a lab are, for programs that run beside it.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::Serialize;

use super::{
    blueprint::{Blueprint, Machine, PodPlan},
    bpffs::Bpffs,
    network::Network,
    topology::{FABRIC_END, Layout, Piece},
};

/// The machines of a lab; serialised, the file that `LAB` names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Pods, in the order of their names.
    pub pods: Vec<Pod>,
    /// Machines outside of the cluster.
    pub hosts: Vec<Host>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its network namespace, as `nsenter --net=PATH` takes it.
    pub netns: PathBuf,
    /// Its addresses on the fabric.
    pub addresses: Vec<IpAddr>,
    /// The bpffs folder of its agent's pins; `None` (`null`) where it pins nothing.
    pub pins: Option<PathBuf>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// Its namespace, in the words of Kubernetes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its network namespace; its node's where it has no network of its own.
    pub netns: PathBuf,
    /// Its interface; its node's where it has no network of its own.
    pub interface: String,
    /// The node's end of it; the same interface where it has no network of its own.
    pub peer: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A machine outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Describes a lab.
pub(super) fn describe(
    plan: &Blueprint,
    layout: &Layout,
    network: &Network,
    pins: &BTreeMap<String, Bpffs>,
) -> Description {
    let netns =
        |machine: &Machine| network.machines.get(machine).map(super::netns::Namespace::path);
    let nodes = plan.nodes.iter().filter_map(|(name, addresses)| {
        let netns = netns(&Machine::Node(name.clone()))?;
        let pins = pins.get(name).map(Bpffs::path);
        Some(Node { name: name.clone(), netns, addresses: addresses.clone(), pins })
    });
    let hosts = plan.hosts.iter().filter_map(|(name, addresses)| {
        let netns = netns(&Machine::Host(name.clone()))?;
        Some(Host { name: name.clone(), netns, addresses: addresses.clone() })
    });
    let own = plan.pods.iter().filter_map(|pod| {
        let netns = netns(&Machine::Pod(pod.name.clone()))?;
        Some(described(pod, netns, ends(layout, pod)?))
    });
    let of_nodes = plan.host_network.iter().filter_map(|pod| {
        let netns = netns(&Machine::Node(pod.node.clone()))?;
        Some(described(pod, netns, (FABRIC_END.to_owned(), FABRIC_END.to_owned())))
    });
    let mut pods: Vec<Pod> = own.chain(of_nodes).collect();
    pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Description { nodes: nodes.collect(), pods, hosts: hosts.collect() }
}

fn described(pod: &PodPlan, netns: PathBuf, (peer, interface): (String, String)) -> Pod {
    let PodPlan { name, node, addresses } = pod.clone();
    Pod { namespace: name.namespace, name: name.name, node, netns, interface, peer, addresses }
}

/// Names of the node's and of the pod's end of its veth.
fn ends(layout: &Layout, pod: &PodPlan) -> Option<(String, String)> {
    let pieces = layout.machines.get(&Machine::Node(pod.node.clone()))?;
    pieces.iter().find_map(|piece| match piece {
        Piece::Veth { near, far, to: Machine::Pod(name) } if *name == pod.name => {
            Some((near.name.clone(), far.name.clone()))
        }
        Piece::Veth { .. }
        | Piece::Bridge { .. }
        | Piece::Port { .. }
        | Piece::Up(_)
        | Piece::Hardware { .. }
        | Piece::Neighbour { .. }
        | Piece::Address { .. }
        | Piece::Route { .. } => None,
    })
}
