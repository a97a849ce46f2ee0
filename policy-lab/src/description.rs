//! The JSON file that `LAB` names: where each machine of a running lab is found.
//!
//! Programs that `--run` starts read it, for example to run `nsenter --net=NETNS` for a pod.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::Serialize;

use crate::{
    blueprint::{Blueprint, Machine, PodPlan},
    bpffs::Bpffs,
    netns::Namespace,
    network::Network,
    topology::{FABRIC_INTERFACE, Layout, Piece},
};

/// The machines of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The nodes, by name.
    pub nodes: Vec<Node>,
    /// The pods, by namespace and name.
    pub pods: Vec<Pod>,
    /// The machines outside the cluster, by name.
    pub hosts: Vec<Host>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Path of its network namespace, as `nsenter --net=PATH` accepts it.
    pub netns: PathBuf,
    /// Its addresses on the fabric.
    pub addresses: Vec<IpAddr>,
    /// The bpffs folder where its agent pins maps and links; `None` (`null`) where it has none.
    pub pins: Option<PathBuf>,
}

/// A pod. One with `hostNetwork` has the namespace and the interface of its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Path of its network namespace.
    pub netns: PathBuf,
    /// The pod's end of its veth pair.
    pub interface: String,
    /// The node's end of it.
    pub peer: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A machine outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Path of its network namespace.
    pub netns: PathBuf,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Describes a lab; `pins` has the bpffs of each node's agent.
pub(crate) fn describe(
    plan: &Blueprint,
    layout: &Layout,
    network: &Network,
    pins: &BTreeMap<String, Bpffs>,
) -> Description {
    let netns = |machine: &Machine| network.machines.get(machine).map(Namespace::path);
    let nodes = plan.nodes.iter().filter_map(|(name, addresses)| {
        let netns = netns(&Machine::Node(name.clone()))?;
        let pins = pins.get(name).map(Bpffs::path);
        Some(Node { name: name.clone(), netns, addresses: addresses.clone(), pins })
    });
    let hosts = plan.hosts.iter().filter_map(|(name, addresses)| {
        let netns = netns(&Machine::Host(name.clone()))?;
        Some(Host { name: name.clone(), netns, addresses: addresses.clone() })
    });
    let own_network = plan.pods.iter().filter_map(|pod| {
        let netns = netns(&Machine::Pod(pod.name.clone()))?;
        Some(describe_pod(pod, netns, veth_names(layout, pod)?))
    });
    let host_network = plan.host_network.iter().filter_map(|pod| {
        let netns = netns(&Machine::Node(pod.node.clone()))?;
        Some(describe_pod(pod, netns, (FABRIC_INTERFACE.to_owned(), FABRIC_INTERFACE.to_owned())))
    });
    let mut pods: Vec<Pod> = own_network.chain(host_network).collect();
    pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Description { nodes: nodes.collect(), pods, hosts: hosts.collect() }
}

fn describe_pod(pod: &PodPlan, netns: PathBuf, (peer, interface): (String, String)) -> Pod {
    let PodPlan { name, node, addresses } = pod.clone();
    Pod { namespace: name.namespace, name: name.name, node, netns, interface, peer, addresses }
}

/// Names of the node's end and the pod's end of a pod's veth pair.
fn veth_names(layout: &Layout, pod: &PodPlan) -> Option<(String, String)> {
    let pieces = layout.machines.get(&Machine::Node(pod.node.clone()))?;
    pieces.iter().find_map(|piece| match piece {
        Piece::Veth { near, far, to: Machine::Pod(name) } if *name == pod.name => {
            Some((near.name.clone(), far.name.clone()))
        }
        Piece::Veth { .. }
        | Piece::Bridge { .. }
        | Piece::BridgePort { .. }
        | Piece::Up(_)
        | Piece::HardwareAddress { .. }
        | Piece::Neighbour { .. }
        | Piece::Address { .. }
        | Piece::Route { .. } => None,
    })
}
