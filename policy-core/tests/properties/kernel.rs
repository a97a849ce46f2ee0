//! The programs' look-ups, written a second time over what the maps hold.

use std::net::IpAddr;

use policy_common::{
    allow::{PortSet, every},
    drops::Reason,
};
use policy_core::{
    desired::Frontend,
    model::{Direction, Protocol},
    plan::Actual,
};

/// The first packet of a connection, as an endpoint sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Probe {
    pub(crate) ifindex: u32,
    pub(crate) direction: Direction,
    pub(crate) remote: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// What a drop record has of the look-ups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) allow_map: u32,
    pub(crate) identity: u32,
}

/// Whether a packet passes; `None` where the interface has no endpoint.
pub(crate) fn judge(actual: &Actual, probe: &Probe) -> Option<bool> {
    verdict(actual, probe).map(|verdict| verdict.is_ok())
}

/// Whether a packet passes, and why it does not; `None` where the interface has no endpoint.
pub(crate) fn verdict(actual: &Actual, probe: &Probe) -> Option<Result<(), Refusal>> {
    let endpoint = actual.endpoints().get(&probe.ifindex)?;
    let allow_map = match probe.direction {
        Direction::Ingress => endpoint.ingress,
        Direction::Egress => endpoint.egress,
    };
    if allow_map == 0 {
        return Some(Ok(()));
    }
    let refuse = |reason, identity| Refusal { reason, allow_map, identity };
    let (address, protocol, port) = (probe.remote, probe.protocol, probe.port);
    let frontend = actual
        .frontend(&Frontend { address, protocol, port })
        .filter(|_| probe.direction == Direction::Egress);
    let identity = frontend.unwrap_or_else(|| actual.identity_of(address));
    let Some(entries) = actual.allow_map(allow_map) else {
        return Some(Err(refuse(Reason::MissingAllowMap, identity)));
    };
    let entry = |number| entries.iter().find(|entry| entry.identity == number);
    if frontend.is_some() {
        let open = || entry(0).is_some_and(|default| default.protocols & every::PROTOCOL != 0);
        let reason = match entry(identity) {
            // The connection goes to one of a list.
            Some(entry) if entry.backends != 0 => None,
            Some(entry) => Reason::from_number(entry.refusal),
            None => (!open()).then_some(Reason::ServiceDenied),
        };
        return Some(reason.map_or(Ok(()), |reason| Err(refuse(reason, identity))));
    }
    let set = entry(identity).or_else(|| entry(0));
    let allowed = set.is_some_and(|set| contains(actual, set, protocol, port));
    Some(if allowed { Ok(()) } else { Err(refuse(Reason::NoRule, identity)) })
}

fn contains(actual: &Actual, set: &PortSet, protocol: Protocol, port: u16) -> bool {
    let whole = match protocol {
        Protocol::Tcp => every::TCP,
        Protocol::Udp => every::UDP,
        Protocol::Sctp => every::SCTP,
    };
    let number = protocol.number();
    let mut ranges = set.ranges.iter().filter(|range| range.protocol == number);
    set.protocols & (whole | every::PROTOCOL) != 0
        || ranges.any(|range| (range.first..=range.last).contains(&port))
        || set.bitmap != 0 && actual.bitmap_holds(set.bitmap, number, port)
}
