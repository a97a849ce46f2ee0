//! Backends of the Services of a snapshot, whether or not a policy asks for them.
//!
//! ```text
//! Service 10.96.0.1, port https 443   slice: port https 6443, endpoint 192.0.2.10
//! frontend 10.96.0.1 TCP 443          192.0.2.10:6443
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::Frontend,
    model::{ObjectName, Service, ServicePort, Snapshot},
};

/// Address and port of each ready backend, by frontend; an entry for each Service.
pub(crate) fn of(snapshot: &Snapshot) -> BTreeMap<Frontend, BTreeSet<(IpAddr, u16)>> {
    let mut found = BTreeMap::new();
    for (name, service) in &snapshot.services {
        for port in &service.ports {
            let backends = backends(snapshot, name, port);
            for address in addresses(service) {
                let frontend = Frontend { address, protocol: port.protocol, port: port.port };
                found.insert(frontend, backends.clone());
            }
        }
    }
    found
}

fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.cluster_ips.iter().chain(&service.external_ips).copied()
}

fn backends(snapshot: &Snapshot, name: &ObjectName, port: &ServicePort) -> BTreeSet<(IpAddr, u16)> {
    let slices = snapshot.endpoint_slices.iter();
    let slices =
        slices.filter(|(of, slice)| of.namespace == name.namespace && slice.service == name.name);
    let backends = slices.flat_map(|(_, slice)| {
        let same = slice.ports.iter();
        let same = same.filter(|one| one.name == port.name && one.protocol == port.protocol);
        same.flat_map(|one| {
            let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
            ready.map(move |endpoint| (endpoint.address, one.port))
        })
    });
    backends.collect()
}
