//! NP024: a rule for the port of a Service, where its backends listen at another one.
//!
//! Policies judge a connection at the port of the pod (S40):
//!
//! ```text
//! Service db/sql      port 80, targetPort 5432
//! ports: 80           matches nothing at the pods of db/sql
//! ports: 5432         is what was meant
//! ```

use std::net::IpAddr;

use crate::model::{Direction, ObjectName, Peer, Pod, PortSpec, Protocol, Snapshot};

use super::{
    context::{Context, LocatedRule},
    finding::{Fix, Level, Report},
    named_ports::destinations,
    rule_ports::hold,
};

/// A port of a Service that leads to another port of its backends.
struct Translation<'a> {
    service: &'a ObjectName,
    protocol: Protocol,
    port: u16,
    backend_port: u16,
    backends: Vec<IpAddr>,
}

/// Rules with the number of a Service's port that no destination serves.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let translations = translations(context.snapshot);
    if translations.is_empty() {
        return;
    }
    for located in context.rules().filter(is_for_pods) {
        for (index, port) in located.rule.ports.iter().enumerate() {
            let PortSpec::Range { first, last } = port.port else { continue };
            if first != last {
                continue;
            }
            let candidates: Vec<_> = translations
                .iter()
                .filter(|one| one.protocol == port.protocol && one.port == first)
                .filter(|one| !hold(&located.rule.ports, one.protocol, one.backend_port))
                .collect();
            if candidates.is_empty() {
                continue;
            }
            let pods = destinations(context, &located);
            let is_backend = |one: &&&Translation<'_>| {
                pods.iter().flat_map(|pod| &pod.addresses).any(|ip| one.backends.contains(ip))
            };
            if let Some(one) = candidates.iter().find(is_backend)
                && !is_served(context.snapshot, &pods, port.protocol, first)
            {
                let Translation { service, backend_port, .. } = one;
                report.add(
                    located.at(located.port_path(index)),
                    Level::Warning,
                    format!(
                        "{first} is the port of Service {service}, and its backends listen at \
                         {backend_port}"
                    ),
                    format!("write port {backend_port}; rules are for the port of the pod"),
                );
                report.fix_last(Fix::WritePort(*backend_port));
            }
        }
    }
}

/// Whether each destination of a rule is a pod: outside of the cluster any port may be served.
fn is_for_pods(located: &LocatedRule<'_>) -> bool {
    let peers = &located.rule.peers;
    located.direction == Direction::Ingress
        || (!peers.is_empty() && peers.iter().all(|peer| matches!(peer, Peer::Pods { .. })))
}

/// The ports of Services that differ from those of their backends.
fn translations(snapshot: &Snapshot) -> Vec<Translation<'_>> {
    let mut found = Vec::new();
    for (slice_name, slice) in &snapshot.endpoint_slices {
        let name = ObjectName::new(&slice_name.namespace, &slice.service);
        let Some((service, content)) = snapshot.services.get_key_value(&name) else { continue };
        for backend in &slice.ports {
            let port = content.ports.iter().find(|port| port.name == backend.name);
            let Some(port) = port.filter(|port| port.port != backend.port) else { continue };
            found.push(Translation {
                service,
                protocol: port.protocol,
                port: port.port,
                backend_port: backend.port,
                backends: slice.endpoints.iter().map(|endpoint| endpoint.address).collect(),
            });
        }
    }
    found
}

/// Whether one of these pods serves a port: it declares it, or a Service leads to it.
fn is_served(snapshot: &Snapshot, pods: &[&Pod], protocol: Protocol, number: u16) -> bool {
    let declared = pods
        .iter()
        .flat_map(|pod| &pod.ports)
        .any(|port| port.protocol == protocol && port.port == number);
    let has_address = |address: &IpAddr| pods.iter().any(|pod| pod.addresses.contains(address));
    declared
        || snapshot.endpoint_slices.values().any(|slice| {
            slice.ports.iter().any(|port| port.protocol == protocol && port.port == number)
                && slice.endpoints.iter().any(|endpoint| has_address(&endpoint.address))
        })
}
