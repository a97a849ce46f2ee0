//! Frontends and the backends behind them, as kube-proxy translates Services, and as a node forwards
//! its host ports (S40).
//!
//! Input: a Service and its slices, or a pod with host ports, and the addresses of the nodes. Output:
//! each frontend with its backends. For a Service with port 80, node port 30080 and one endpoint of
//! each state:
//!
//! ```text
//! slice         10.0.0.7:8080 ready    10.0.0.8:8080 not ready    10.0.0.9:8080 serving, terminating
//! 10.96.0.1:80            10.0.0.7:8080                    the cluster IP itself needs no rule
//! 172.30.9.11:30080       10.0.0.7:8080, checks_frontend   the node's address must be allowed too
//! without 10.0.0.7        10.0.0.9:8080                    none is ready: those that still serve
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    compile::{
        desired::{Frontend, ServiceBackends},
        services::endpoints::{Backends, Reach, ServiceSlices, Translator},
    },
    model::{Family, Node, ObjectName, Pod, Service, ServicePort, Snapshot},
};

/// The addresses at which each node answers for node ports and host ports.
pub(crate) type NodeAddresses = BTreeMap<String, BTreeSet<IpAddr>>;

/// Where a port of a Service can be reached.
struct Place<'a> {
    address: IpAddr,
    port: u16,
    checks_frontend: bool,
    /// The node that translates connections to it, and which endpoints that node uses.
    reach: Reach<'a>,
}

/// The frontends of a Service, in any order; one of them may come twice. `own` is the node of the
/// senders; without one, every endpoint that some node may use is a backend.
pub(super) fn of_service(
    name: &ObjectName,
    service: &Service,
    snapshot: &Snapshot,
    (own, nodes): (Option<&str>, &NodeAddresses),
) -> Vec<(Frontend, ServiceBackends)> {
    let slices = ServiceSlices::of(name, snapshot);
    let mut all = Vec::new();
    for port in &service.ports {
        // Nodes with the same choice of endpoints share one set.
        let mut shared: BTreeMap<(Family, Reach<'_>), Arc<Backends>> = BTreeMap::new();
        for place in places(service, port, snapshot, own, nodes) {
            let Place { address, port: number, checks_frontend, reach } = place;
            let family = Family::of(address);
            // A node port has an address at each node: without hints, 5,000 nodes share one set.
            let reach = slices.distinct(reach);
            let backends = shared
                .entry((family, reach))
                .or_insert_with(|| Arc::new(slices.backends(port, family, reach)));
            let backends = Arc::clone(backends);
            let frontend = Frontend { address, protocol: port.protocol, port: number };
            all.push((frontend, ServiceBackends { backends, checks_frontend }));
        }
    }
    all
}

/// The frontends of a pod's host ports: at every address of its node, or at the one that `hostIP`
/// names.
pub(super) fn of_host_ports(pod: &Pod, nodes: &NodeAddresses) -> Vec<(Frontend, ServiceBackends)> {
    let Some(node) = pod.node.as_ref().filter(|_| pod.is_subject()) else { return Vec::new() };
    let mut all = Vec::new();
    for host_port in &pod.host_ports {
        let own = nodes.get(node).into_iter().flatten().filter(|_| host_port.address.is_none());
        for &address in own.chain(&host_port.address).filter(|address| !address.is_loopback()) {
            // The node translates within a family; a pod without an address there has no host port.
            let same_family = |one: &IpAddr| Family::of(*one) == Family::of(address);
            let Some(backend) = pod.usable_addresses().find(same_family) else { continue };
            let (protocol, port) = (host_port.protocol, host_port.port);
            let backends = Arc::new([(backend, host_port.container_port)].into());
            let service = ServiceBackends { backends, checks_frontend: false };
            all.push((Frontend { address, protocol, port }, service));
        }
    }
    all
}

/// The backends of one address and port for senders on a node. Reads only the Services and pods that
/// have it.
pub(crate) fn service_backends(
    snapshot: &Snapshot,
    own: Option<&str>,
    frontend: Frontend,
) -> Option<ServiceBackends> {
    let Frontend { address, protocol, port: number } = frontend;
    let nodes = nodes_at(address, snapshot);
    let mut found = Vec::new();
    for (name, service) in &snapshot.services {
        for port in service.ports.iter().filter(|port| port.protocol == protocol) {
            let mut places = places(service, port, snapshot, own, &nodes);
            let here = places.find(|place| (place.address, place.port) == (address, number));
            if let Some(Place { checks_frontend, reach, .. }) = here {
                let slices = ServiceSlices::of(name, snapshot);
                let backends = Arc::new(slices.backends(port, Family::of(address), reach));
                found.push(ServiceBackends { backends, checks_frontend });
            }
        }
    }
    for pod in snapshot.pods.values().filter(|pod| !pod.host_ports.is_empty()) {
        let of_pod = of_host_ports(pod, &nodes).into_iter();
        found.extend(of_pod.filter(|(at, _)| *at == frontend).map(|(_, service)| service));
    }
    ServiceBackends::union(found)
}

/// The nodes that answer at one address. A gateway is a guess from the node's pod network; a pod with
/// the address is certain.
fn nodes_at(address: IpAddr, snapshot: &Snapshot) -> NodeAddresses {
    let has_pod =
        || snapshot.pods.values().any(|pod| pod.is_subject() && pod.addresses.contains(&address));
    let answers = |node: &Node| {
        node.own_addresses().any(|own| own == address)
            || node.gateways().any(|gateway| gateway == address) && !has_pod()
    };
    let nodes = snapshot.nodes.iter().filter(|(_, node)| answers(node));
    nodes.map(|(name, _)| (name.clone(), [address].into())).collect()
}

/// Where a port of a Service can be reached.
fn places<'a>(
    service: &'a Service,
    port: &'a ServicePort,
    snapshot: &'a Snapshot,
    own: Option<&'a str>,
    nodes: &'a NodeAddresses,
) -> impl Iterator<Item = Place<'a>> + 'a {
    let translator = |node: &'a str| Translator::of(node, snapshot);
    let own = own.map(translator);
    let of_cluster_ip = match own {
        Some(node) if service.internal_traffic_local => Reach::SameNode(node.node),
        own => Reach::Cluster(own),
    };
    let place =
        |address, port, reach, checks_frontend| Place { address, port, checks_frontend, reach };
    let cluster =
        service.cluster_ips.iter().map(move |&ip| place(ip, port.port, of_cluster_ip, false));
    let everywhere = Reach::Cluster(own);
    let external =
        service.external_ips.iter().map(move |&ip| place(ip, port.port, everywhere, true));
    // The node with the address translates, whichever node the sender is on.
    let nodes = port.node_port.into_iter().flat_map(move |number| {
        nodes.iter().flat_map(move |(node, addresses)| {
            let reach = Reach::Cluster(Some(translator(node)));
            addresses.iter().map(move |&address| place(address, number, reach, true))
        })
    });
    cluster.chain(external).chain(nodes)
}

impl ServiceBackends {
    /// What several Services and pods have together at one frontend; `None` without any.
    pub(crate) fn union(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(|mut all, part| {
            all.join(&part);
            all
        })
    }

    /// Adds the backends that another Service or pod has at the same frontend. Both count: which of
    /// them a node takes is not defined.
    pub(crate) fn join(&mut self, other: &Self) {
        // Stricter than either: all backends of both must be allowed.
        self.checks_frontend |= other.checks_frontend;
        if self.backends != other.backends {
            self.backends = Arc::new(&*self.backends | &*other.backends);
        }
    }
}
