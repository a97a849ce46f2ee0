//! Services as kube-proxy translates them: frontends and the backends behind them (S40).
//!
//! Input: a Service, its slices, and the addresses that have node ports. Output: each frontend with
//! its backends. For a Service with port 80, node port 30080 and one endpoint of each state:
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
    compile::desired::Frontend,
    model::{
        EndpointSlice, Family, Node, ObjectName, Protocol, Service, ServicePort, SliceEndpoint,
        Snapshot,
    },
};

/// Addresses and ports of backends.
type Backends = BTreeSet<(IpAddr, u16)>;

/// The backends of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceBackends {
    pub(crate) backends: Arc<Backends>,
    /// Whether policy must allow the frontend's own address too, as for external addresses and
    /// node ports (S40).
    pub(crate) checks_frontend: bool,
}

/// The slices of a Service.
struct ServiceSlices<'a>(Vec<&'a EndpointSlice>);

impl<'a> ServiceSlices<'a> {
    fn of(service: &ObjectName, snapshot: &'a Snapshot) -> Self {
        let from = snapshot.endpoint_slices.range(ObjectName::new(&service.namespace, "")..);
        let here = from.take_while(|(name, _)| name.namespace == service.namespace);
        Self(here.map(|(_, slice)| slice).filter(|slice| slice.service == service.name).collect())
    }

    /// The backends that kube-proxy uses: those that are ready; where none is, those that serve
    /// while they terminate.
    fn backends(&self, port: &ServicePort, family: Family) -> Backends {
        let mut found = Vec::new();
        for slice in &self.0 {
            let ports = slice.ports.iter();
            for number in ports.filter(|p| p.name == port.name && p.protocol == port.protocol) {
                let endpoints = slice.endpoints.iter();
                let endpoints = endpoints.filter(|e| Family::of(e.address) == family);
                found.extend(endpoints.map(|endpoint| (endpoint, number.port)));
            }
        }
        let those = |wanted: fn(&SliceEndpoint) -> bool| -> Backends {
            let wanted = found.iter().filter(|(endpoint, _)| wanted(endpoint));
            wanted.map(|(endpoint, port)| (endpoint.address, *port)).collect()
        };
        let ready = those(|endpoint| endpoint.ready);
        if ready.is_empty() {
            those(|endpoint| endpoint.serving && endpoint.terminating)
        } else {
            ready
        }
    }
}

/// Addresses at which kube-proxy answers for node ports: those of nodes, of their bridges and of
/// their tunnels.
fn node_addresses(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let named = snapshot.nodes.values().flat_map(Node::own_addresses);
    named.chain(snapshot.gateways()).collect()
}

/// The frontends of a Service, in any order; one of them may come twice.
pub(super) fn frontends(
    name: &ObjectName,
    service: &Service,
    snapshot: &Snapshot,
    nodes: &BTreeSet<IpAddr>,
) -> Vec<(Frontend, ServiceBackends)> {
    let slices = ServiceSlices::of(name, snapshot);
    let mut all = Vec::new();
    for port in &service.ports {
        let of = |family| Arc::new(slices.backends(port, family));
        let (ipv4, ipv6) = (of(Family::Ipv4), of(Family::Ipv6));
        all.extend(places(service, port, nodes).map(|(address, number, checks_frontend)| {
            let frontend = Frontend { address, protocol: port.protocol, port: number };
            let backends = match Family::of(address) {
                Family::Ipv4 => &ipv4,
                Family::Ipv6 => &ipv6,
            };
            (frontend, ServiceBackends { backends: Arc::clone(backends), checks_frontend })
        }));
    }
    all
}

/// The backends of one address and port. Reads only the Services that have it.
pub(crate) fn service_backends(
    snapshot: &Snapshot,
    address: IpAddr,
    protocol: Protocol,
    number: u16,
) -> Option<ServiceBackends> {
    let nodes = node_addresses(snapshot);
    let frontend = Frontend { address, protocol, port: number };
    let mut all = BTreeMap::new();
    for (name, service) in &snapshot.services {
        for port in service.ports.iter().filter(|port| port.protocol == protocol) {
            let mut places = places(service, port, &nodes);
            if let Some((.., checks_frontend)) =
                places.find(|&(a, p, _)| (a, p) == (address, number))
            {
                let slices = ServiceSlices::of(name, snapshot);
                let backends = Arc::new(slices.backends(port, Family::of(address)));
                add(&mut all, frontend, ServiceBackends { backends, checks_frontend });
            }
        }
    }
    all.remove(&frontend)
}

/// Where a port of a Service can be reached, and whether that address must be allowed too.
fn places<'a>(
    service: &'a Service,
    port: &'a ServicePort,
    nodes: &'a BTreeSet<IpAddr>,
) -> impl Iterator<Item = (IpAddr, u16, bool)> + 'a {
    let cluster = service.cluster_ips.iter().map(|&address| (address, port.port, false));
    let external = service.external_ips.iter().map(|&address| (address, port.port, true));
    let nodes = port
        .node_port
        .into_iter()
        .flat_map(|number| nodes.iter().map(move |&address| (address, number, true)));
    cluster.chain(external).chain(nodes)
}

/// Adds the backends of a Service. Of two Services at one frontend both count: which of them
/// kube-proxy takes is not defined.
fn add(
    all: &mut BTreeMap<Frontend, ServiceBackends>,
    frontend: Frontend,
    service: ServiceBackends,
) {
    match all.get_mut(&frontend) {
        Some(before) => before.join(&service),
        None => drop(all.insert(frontend, service)),
    }
}

impl ServiceBackends {
    /// Adds the backends that another Service has at the same frontend.
    pub(crate) fn join(&mut self, other: &Self) {
        self.checks_frontend |= other.checks_frontend;
        if self.backends != other.backends {
            self.backends = Arc::new(&*self.backends | &*other.backends);
        }
    }
}
