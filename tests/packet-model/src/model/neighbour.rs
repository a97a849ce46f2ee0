//! ARP, neighbour discovery and MLD (S32).

use std::net::IpAddr;

use super::frame::{Packet, Upper, address6};
use crate::addresses::{
    OTHER_NODE, OWN_NODE, PODS, UNSPECIFIED, ip, is_group, is_link_group, is_link_local, listed,
};
use crate::protocol::ICMPV6;
use crate::world::Pod;

/// The message types that S32 names.
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Whether a pod may send this ARP packet (RFC 826): Ethernet and IPv4, its own sender address, or
/// none in a probe (RFC 5227).
pub(crate) fn pod_may_send_arp(number: usize, pod: &Pod, body: &[u8]) -> bool {
    if pod.may_spoof {
        return true;
    }
    let Some(body) = body.get(..28) else { return false };
    let sender = IpAddr::from([body[14], body[15], body[16], body[17]]);
    body[..6] == [0, 1, 8, 0, 6, 4] && (sender == ip(PODS[number].v4) || sender == ip("0.0.0.0"))
}

/// The type of a message of neighbour discovery or MLD; `None` for any other packet.
pub(crate) fn message(upper: &Upper) -> Option<u8> {
    let kind = upper.bytes.get(..8)?[0];
    (upper.protocol == ICMPV6 && matches!(kind, 130..=137 | 143)).then_some(kind)
}

/// Whether a message keeps to its standard: RFC 4861, RFC 2710, RFC 3810; RFC 6980 has no
/// fragments of it.
pub(crate) fn is_valid(packet: &Packet, upper: &Upper, kind: u8) -> bool {
    if (ROUTER_SOLICITATION..=REDIRECT).contains(&kind) {
        return packet.hops == 255 && upper.bytes.get(1) == Some(&0) && packet.fragment.is_none();
    }
    let source = is_link_local(packet.source) || packet.source == UNSPECIFIED;
    packet.hops == 1 && is_group(packet.destination) && source && packet.fragment.is_none()
}

/// Whether a pod may send a valid message.
pub(crate) fn pod_may_send(number: usize, packet: &Packet, upper: &Upper, kind: u8) -> bool {
    let own = |address| address == ip(PODS[number].v6) || is_link_local(address);
    if matches!(kind, ROUTER_ADVERTISEMENT | REDIRECT) {
        return false;
    }
    if packet.source != UNSPECIFIED && !own(packet.source) {
        return false;
    }
    if kind == 143 || kind < ROUTER_SOLICITATION {
        return true;
    }
    let to_group = is_group(packet.destination);
    if to_group && !is_link_group(packet.destination) {
        return false;
    }
    if kind == ROUTER_SOLICITATION {
        return to_group;
    }
    if !to_group && !is_on_link(number, packet.destination) {
        return false;
    }
    let Some(target) = upper.bytes.get(8..24).map(address6) else { return false };
    let advertises = kind == NEIGHBOUR_ADVERTISEMENT;
    let unspecified = packet.source == UNSPECIFIED;
    if kind == NEIGHBOUR_SOLICITATION && !to_group && target != packet.destination {
        return false;
    }
    if advertises && unspecified {
        return false;
    }
    !(advertises || unspecified) || own(target)
}

/// Whether a unicast address can be on the pod's link.
fn is_on_link(number: usize, address: IpAddr) -> bool {
    let network = |address: IpAddr| match address {
        IpAddr::V6(address) => u128::from(address) >> 64,
        IpAddr::V4(_) => 0,
    };
    is_link_local(address)
        || network(address) == network(ip(PODS[number].v6))
        || listed(OWN_NODE, address)
        || listed(OTHER_NODE, address)
}
