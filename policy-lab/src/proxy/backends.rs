//! Selects the endpoints that receive connections of a Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use policy_core::model::{ObjectName, ServicePort, Snapshot};

/// The endpoints of a Service port; the key is whether they are IPv4.
///
/// These are the ready endpoints, or, in a family without a ready one, those that still serve while
/// they terminate (KEP-1669).
#[must_use]
pub fn backends(
    snapshot: &Snapshot,
    service: &ObjectName,
    port: &ServicePort,
) -> BTreeMap<bool, BTreeSet<SocketAddr>> {
    let mut ready = BTreeMap::<bool, BTreeSet<SocketAddr>>::new();
    let mut terminating = BTreeMap::<bool, BTreeSet<SocketAddr>>::new();
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
                let address = SocketAddr::new(endpoint.address, number.port);
                let family = endpoint.address.is_ipv4();
                if endpoint.ready {
                    ready.entry(family).or_default().insert(address);
                } else if endpoint.serving && endpoint.terminating {
                    terminating.entry(family).or_default().insert(address);
                }
            }
        }
    }
    for (family, addresses) in terminating {
        ready.entry(family).or_insert(addresses);
    }
    ready
}
