//! Services as kube-proxy translates them: frontends and the backends behind them (S40).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    desired::Frontend,
    model::{
        EndpointSlice, Family, ObjectName, Protocol, Service, ServicePort, SliceEndpoint, Snapshot,
    },
};

/// Backends: address and port.
pub(crate) type Backends = BTreeSet<(IpAddr, u16)>;

/// What is behind a frontend.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) backends: Arc<Backends>,
    /// Whether policy must allow the frontend's own address too.
    pub(crate) literal: bool,
}

/// The slices of each Service, by namespace and name of the Service.
pub(crate) struct Slices<'a>(BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    /// Sorts the slices of a cluster.
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let mut slices: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, slice) in &snapshot.endpoint_slices {
            let service = (name.namespace.as_str(), slice.service.as_str());
            slices.entry(service).or_default().push(slice);
        }
        Self(slices)
    }

    /// The backends that kube-proxy would use: those ready; where none is, those that serve
    /// while they terminate.
    pub(crate) fn backends(
        &self,
        name: &ObjectName,
        port: &ServicePort,
        family: Family,
    ) -> Backends {
        let slices = self.0.get(&(name.namespace.as_str(), name.name.as_str()));
        let mut found = Vec::new();
        for slice in slices.into_iter().flatten() {
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

/// Addresses at which kube-proxy answers for node ports: those of nodes, and what is known of
/// their bridges and tunnels.
fn node_addresses(snapshot: &Snapshot, own: Option<&str>) -> BTreeSet<IpAddr> {
    let named = snapshot.nodes.values().flat_map(|node| node.addresses.iter().copied());
    named.chain(snapshot.gateways(own)).collect()
}

/// The frontends of every Service, as they are seen from the node `own`.
pub(crate) fn frontends(snapshot: &Snapshot, own: Option<&str>) -> BTreeMap<Frontend, Target> {
    let slices = Slices::of(snapshot);
    let nodes = node_addresses(snapshot, own);
    let mut all = BTreeMap::new();
    for (name, service) in &snapshot.services {
        for port in &service.ports {
            let of = |family| Arc::new(slices.backends(name, port, family));
            let backends = [of(Family::Ipv4), of(Family::Ipv6)];
            for (address, number, literal) in places(service, port, &nodes) {
                let frontend = Frontend { address, protocol: port.protocol, port: number };
                let behind = match Family::of(address) {
                    Family::Ipv4 => &backends[0],
                    Family::Ipv6 => &backends[1],
                };
                add(&mut all, frontend, Target { backends: Arc::clone(behind), literal });
            }
        }
    }
    all
}

/// What is behind one address and port, without looking at more Services than have it.
pub(crate) fn behind(
    snapshot: &Snapshot,
    address: IpAddr,
    protocol: Protocol,
    number: u16,
) -> Option<Target> {
    let nodes = node_addresses(snapshot, None);
    let frontend = Frontend { address, protocol, port: number };
    let mut all = BTreeMap::new();
    for (name, service) in &snapshot.services {
        for port in service.ports.iter().filter(|port| port.protocol == protocol) {
            let mut places = places(service, port, &nodes);
            if let Some((.., literal)) = places.find(|&(a, p, _)| (a, p) == (address, number)) {
                let slices = Slices::of(snapshot);
                let backends = Arc::new(slices.backends(name, port, Family::of(address)));
                add(&mut all, frontend, Target { backends, literal });
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

/// Two Services at one place are both meant: which of them kube-proxy takes is not defined.
fn add(all: &mut BTreeMap<Frontend, Target>, frontend: Frontend, target: Target) {
    let Some(known) = all.get_mut(&frontend) else {
        all.insert(frontend, target);
        return;
    };
    known.literal |= target.literal;
    if known.backends != target.backends {
        known.backends = Arc::new(&*known.backends | &*target.backends);
    }
}
