//! Which endpoints take connections of a Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use policy_core::model::{ObjectName, ServicePort, Snapshot};

/// Endpoints of a Service's port, by whether they are IPv4: the ready ones, or, in a family where
/// none is ready, those that still serve while they terminate (KEP-1669).
#[must_use]
pub fn backends(
    snapshot: &Snapshot,
    service: &ObjectName,
    port: &ServicePort,
) -> BTreeMap<bool, BTreeSet<SocketAddr>> {
    let mut ready = BTreeMap::<bool, BTreeSet<SocketAddr>>::new();
    let mut leaving = BTreeMap::<bool, BTreeSet<SocketAddr>>::new();
    let slices = snapshot.endpoint_slices.iter().filter(|(name, slice)| {
        name.namespace == service.namespace && slice.service == service.name
    });
    for (_, slice) in slices {
        let numbers = slice
            .ports
            .iter()
            .filter(|of_slice| of_slice.name == port.name && of_slice.protocol == port.protocol);
        for number in numbers {
            for endpoint in &slice.endpoints {
                let place = SocketAddr::new(endpoint.address, number.port);
                let family = endpoint.address.is_ipv4();
                if endpoint.ready {
                    ready.entry(family).or_default().insert(place);
                } else if endpoint.serving && endpoint.terminating {
                    leaving.entry(family).or_default().insert(place);
                }
            }
        }
    }
    for (family, places) in leaving {
        ready.entry(family).or_insert(places);
    }
    ready
}
