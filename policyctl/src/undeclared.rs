//! A port of each protocol that stands for all ports that no pod declares: what `simulate` probes
//! besides the declared ones, so that a pod that declares no port has rows too.
//!
//! ```text
//! pods declare 80, policies name 8000-65535   -> 7999/TCP: no pod and no policy distinguishes it
//! policies name 1-65535                       -> 65535/TCP: at least no pod declares it
//! ```

use std::collections::BTreeSet;

use policy_core::{
    desired::Ports,
    model::{Protocol, Snapshot},
};

use crate::segments;

/// The highest port of each protocol that no pod declares and that no policy and no Service names.
/// Where policies name every port, it is one that no pod declares; where pods declare every port,
/// there is none.
pub(crate) fn ports(snapshot: &Snapshot) -> Vec<(u16, Protocol)> {
    let of = |protocol| undeclared(snapshot, protocol).map(|port| (port, protocol));
    Protocol::ALL.into_iter().filter_map(of).collect()
}

fn undeclared(snapshot: &Snapshot, protocol: Protocol) -> Option<u16> {
    let pods = snapshot.pods.values().flat_map(|pod| &pod.ports);
    let pods = pods.filter(|port| port.protocol == protocol).map(|port| port.port);
    let declared: BTreeSet<u16> = pods.collect();
    let services = snapshot.services.values().flat_map(|service| &service.ports);
    let services = services.map(|port| (port.protocol, port.port, port.port));
    let named = Ports::from_ranges(segments::ranges(snapshot).chain(services));
    let candidates = || (1..=u16::MAX).rev().filter(|port| !declared.contains(port));
    candidates().find(|port| !named.contains(protocol, *port)).or_else(|| candidates().next())
}
