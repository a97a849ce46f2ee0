//! Plans the machines of a lab and their addresses. Pure.
//!
//! Input: a snapshot, hosts, and addresses that probes name. Output: a [`Blueprint`], and the snapshot
//! completed with what the lab adds, so that the compiler sees the same cluster.
//! For example, a pod without a node gets the node `lab-node` with the address 198.18.0.1, and a
//! probe to 10.0.0.7, which no object has, gets a host with that address.

mod node_addresses;
mod pod_subnet;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use node_addresses::NodeAddresses;
pub(crate) use pod_subnet::pod_subnet;
use policy_core::model::{Family, ObjectName, Phase, Snapshot};

/// Name of the node of pods that name none.
pub const DEFAULT_NODE: &str = "lab-node";

/// Why no network can be built from the manifests. Each of these is an error of the input.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlueprintError {
    /// No pod has an address.
    #[error("there is no pod with an address (status.podIPs)")]
    NoPod,
    /// Two machines have one address.
    #[error("{first} and {second} both have the address {address}")]
    SharedAddress {
        /// The address.
        address: IpAddr,
        /// A machine with the address.
        first: Machine,
        /// Another one.
        second: Machine,
    },
    /// An address is not a unicast address that can be routed to.
    #[error("{machine} has the address {address}, which no interface can have")]
    ImpossibleAddress {
        /// The machine.
        machine: Machine,
        /// The address.
        address: IpAddr,
    },
}

/// A machine: it has a network namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// A node, by name; its host-network pods use its namespace.
    Node(String),
    /// A pod with a network of its own.
    Pod(ObjectName),
    /// A machine outside the cluster, by name.
    Host(String),
}

/// `node/NAME`, `NAMESPACE/NAME`, `host/NAME`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Pod(name) => name.fmt(f),
            Self::Host(name) => write!(f, "host/{name}"),
        }
    }
}

/// A pod, its node and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// Its name.
    pub name: ObjectName,
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The machines of a lab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blueprint {
    /// Addresses of each node: at least one in each family that any pod has.
    pub nodes: BTreeMap<String, Vec<IpAddr>>,
    /// Pods with a namespace of their own, in the order of their names.
    pub pods: Vec<PodPlan>,
    /// Pods that use the namespaces of their nodes, in the order of their names.
    pub host_network: Vec<PodPlan>,
    /// Addresses of the machines outside the cluster.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// The machine at each address.
    pub owners: BTreeMap<IpAddr, Machine>,
    /// Gateway addresses of pods that a probe or an endpoint names, and the node of each.
    pub gateways: BTreeMap<IpAddr, String>,
    /// Addresses of Services, which no machine has.
    pub frontends: BTreeSet<IpAddr>,
    /// One note for each object that the lab adds or leaves out.
    pub notes: Vec<String>,
}

/// Plans the machines of a snapshot and of hosts.
///
/// Completes the snapshot with what the lab adds: addresses of nodes, and the node of pods that
/// name none. `probed` are addresses that probes name without an object.
///
/// # Errors
///
/// Where two machines share an address, or no pod has one.
pub fn plan(
    snapshot: &mut Snapshot,
    hosts: &BTreeMap<String, Vec<IpAddr>>,
    probed: &BTreeSet<IpAddr>,
) -> Result<Blueprint, BlueprintError> {
    let frontends = snapshot
        .services
        .values()
        .flat_map(|service| service.cluster_ips.iter().chain(&service.external_ips));
    let mut plan = Blueprint { frontends: frontends.copied().collect(), ..Blueprint::default() };
    place_pods(&mut plan, snapshot);
    if snapshot.pods.values().all(|pod| pod.addresses.is_empty()) {
        return Err(BlueprintError::NoPod);
    }
    let named = snapshot.nodes.iter();
    plan.nodes.extend(named.map(|(name, node)| (name.clone(), node.addresses.clone())));
    place_host_network(&mut plan, snapshot);
    plan.hosts.clone_from(hosts);
    assign_owners(&mut plan)?;
    add_hosts(&mut plan, snapshot, probed);
    add_node_addresses(&mut plan);
    for (name, addresses) in &plan.nodes {
        snapshot.nodes.entry(name.clone()).or_default().addresses.clone_from(addresses);
    }
    Ok(plan)
}

/// Puts each pod on its node.
fn place_pods(plan: &mut Blueprint, snapshot: &mut Snapshot) {
    for (name, pod) in &mut snapshot.pods {
        if pod.phase == Phase::Finished {
            plan.notes.push(format!("{name} has finished: it is not in the lab"));
            continue;
        }
        let node = pod.node.get_or_insert_with(|| {
            plan.notes.push(format!("{name} names no node: the lab puts it on {DEFAULT_NODE}"));
            DEFAULT_NODE.to_owned()
        });
        if !snapshot.nodes.contains_key(node) && !plan.nodes.contains_key(node) {
            plan.notes.push(format!("node {node} is not declared: the lab adds it"));
        }
        plan.nodes.entry(node.clone()).or_default();
        if pod.addresses.is_empty() {
            plan.notes.push(format!("{name} has no address (status.podIPs): it is not in the lab"));
        } else {
            let place = if pod.host_network { &mut plan.host_network } else { &mut plan.pods };
            place.push(PodPlan {
                name: name.clone(),
                node: node.clone(),
                addresses: pod.addresses.clone(),
            });
        }
    }
}

/// Gives nodes the addresses of their host-network pods.
fn place_host_network(plan: &mut Blueprint, snapshot: &Snapshot) {
    let live = snapshot.pods.values().filter(|pod| pod.phase == Phase::Live && pod.host_network);
    for pod in live {
        let Some(addresses) = pod.node.as_ref().and_then(|node| plan.nodes.get_mut(node)) else {
            continue;
        };
        for address in &pod.addresses {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
    }
}

/// Records the owner of every address.
fn assign_owners(plan: &mut Blueprint) -> Result<(), BlueprintError> {
    let nodes = plan.nodes.iter().map(|(name, at)| (Machine::Node(name.clone()), at));
    let pods = plan.pods.iter().map(|pod| (Machine::Pod(pod.name.clone()), &pod.addresses));
    let hosts = plan.hosts.iter().map(|(name, at)| (Machine::Host(name.clone()), at));
    for (machine, addresses) in nodes.chain(pods).chain(hosts) {
        for address in addresses {
            if !is_routable_unicast(*address) {
                return Err(BlueprintError::ImpossibleAddress { machine, address: *address });
            }
            match plan.owners.insert(*address, machine.clone()) {
                Some(first) if first != machine => {
                    return Err(BlueprintError::SharedAddress {
                        address: *address,
                        first,
                        second: machine,
                    });
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}

/// Adds a host for each probed address and each endpoint that no machine has; a gateway address
/// is given to its node instead.
fn add_hosts(plan: &mut Blueprint, snapshot: &Snapshot, probed: &BTreeSet<IpAddr>) {
    let backends = snapshot
        .endpoint_slices
        .values()
        .flat_map(|slice| slice.endpoints.iter().map(|endpoint| endpoint.address));
    for address in probed.iter().copied().chain(backends) {
        if plan.owners.contains_key(&address)
            || plan.frontends.contains(&address)
            || !is_routable_unicast(address)
        {
            continue;
        }
        if let Some(node) = pod_subnet::gateway_of(plan, address).map(str::to_owned) {
            plan.notes.push(format!("{address} is the gateway address of the pods of node {node}"));
            plan.owners.insert(address, Machine::Node(node.clone()));
            plan.gateways.insert(address, node);
            continue;
        }
        let name = address.to_string();
        plan.notes
            .push(format!("no object has the address {address}: the lab adds a host with it"));
        plan.owners.insert(address, Machine::Host(name.clone()));
        plan.hosts.insert(name, vec![address]);
    }
}

/// Gives each node an address in every family that is in use: the gateway of routes to its pods.
fn add_node_addresses(plan: &mut Blueprint) {
    let families: BTreeSet<Family> = plan.owners.keys().map(|at| Family::of(*at)).collect();
    let mut free = NodeAddresses::default();
    for (name, addresses) in &mut plan.nodes {
        for family in &families {
            if addresses.iter().any(|at| Family::of(*at) == *family) {
                continue;
            }
            let address = free.next(*family, |at| plan.owners.contains_key(&at));
            plan.owners.insert(address, Machine::Node(name.clone()));
            addresses.push(address);
        }
    }
}

/// Whether an interface can have the address and be reached from another link.
fn is_routable_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests;
