//! The classifiers' look-ups, written again over what the maps hold.

use std::net::IpAddr;

use policy_common::allow::{PortSet, every};
use policy_core::{
    desired::Frontend,
    model::{Direction, Protocol},
    plan::Actual,
};

/// The first packet of a connection, as an endpoint sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) ifindex: u32,
    pub(crate) direction: Direction,
    pub(crate) remote: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// Whether a packet passes; `None` where the interface has no endpoint.
pub(crate) fn judge(actual: &Actual, probe: &Probe) -> Option<bool> {
    let endpoint = actual.endpoints().get(&probe.ifindex)?;
    let content = match probe.direction {
        Direction::Ingress => endpoint.ingress,
        Direction::Egress => endpoint.egress,
    };
    if content == 0 {
        return Some(true);
    }
    let Some(entries) = actual.content(content) else { return Some(false) };
    let entry = |number| entries.iter().find(|entry| entry.identity == number);
    let (address, protocol, port) = (probe.remote, probe.protocol, probe.port);
    if probe.direction == Direction::Egress
        && let Some(number) = actual.frontend(&Frontend { address, protocol, port })
    {
        let open = || entry(0).is_some_and(|default| default.protocols & every::PROTOCOL != 0);
        return Some(entry(number).map_or_else(open, |entry| entry.refusal == 0));
    }
    let set = entry(actual.identity_of(address)).or_else(|| entry(0));
    Some(set.is_some_and(|set| contains(actual, set, protocol, port)))
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
