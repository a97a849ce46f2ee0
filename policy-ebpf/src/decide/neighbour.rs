//! ARP, IPv6 neighbour discovery and MLD: they need no rule, but must keep to their standards (S32).

use policy_common::{
    drops::{Direction, Reason},
    endpoint::{Endpoint, flags},
    protocol::ICMPV6,
};

use super::verdict::Verdict;
use crate::{
    address::{Ip, UNSPECIFIED},
    maps::NODE_ADDRESSES,
    parse::{Bytes, ETHER_LENGTH, headers::Fragment, ip::Packet},
};

const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Judges an ARP packet (RFC 826): a pod may announce only its own address.
#[inline(always)]
pub(crate) fn arp(bytes: &impl Bytes, direction: Direction, endpoint: &Endpoint) -> Verdict {
    if matches!(direction, Direction::Ingress) || endpoint.flags & flags::MAY_SPOOF != 0 {
        return Verdict::Pass;
    }
    let Some(packet) = bytes.load::<[u8; 28]>(ETHER_LENGTH) else {
        return Verdict::drop(Reason::Malformed);
    };
    // Ethernet, IPv4, six and four bytes.
    if u64::from_be_bytes([packet[0], packet[1], packet[2], packet[3], packet[4], packet[5], 0, 0])
        != 0x0001_0800_0604_0000
    {
        return Verdict::drop(Reason::Malformed);
    }
    let sender = [packet[14], packet[15], packet[16], packet[17]];
    // A sender address of zero is a probe for a free address (RFC 5227, 2.1.1).
    if sender == endpoint.address4 || sender == [0; 4] {
        Verdict::Pass
    } else {
        Verdict::drop(Reason::SpoofedNeighbour)
    }
}

/// Judges neighbour discovery and MLD; `None` for everything else.
#[inline(always)]
pub(crate) fn icmpv6(
    bytes: &impl Bytes,
    direction: Direction,
    endpoint: &Endpoint,
    packet: &Packet,
) -> Option<Verdict> {
    let Ok(transport) = packet.transport() else { return None };
    if transport.protocol != ICMPV6 || transport.echoes {
        return None;
    }
    let [kind, code] = transport.source;
    let valid = match kind {
        // RFC 4861: hop limit 255 proves that no router forwarded it; code 0. RFC 6980: no fragments.
        133..=137 => packet.hops == 255 && code == 0 && packet.fragment == Fragment::WHOLE,
        // RFC 2710, RFC 3810: link scope only.
        130..=132 | 143 => {
            packet.hops == 1
                && packet.destination.is_multicast6()
                && (packet.source.is_link_local6() || packet.source == UNSPECIFIED)
        }
        _ => return None,
    };
    if !valid {
        return Some(Verdict::drop(Reason::InvalidNeighbour));
    }
    if endpoint.flags & flags::MAY_SPOOF != 0 {
        return Some(Verdict::Pass);
    }
    if matches!(direction, Direction::Ingress) {
        // A bridge floods frames for addresses that it does not know yet.
        let is_for_pod = own(endpoint, packet.destination) || packet.destination.is_multicast6();
        return Some(if is_for_pod { Verdict::Pass } else { Verdict::drop(Reason::NotForPod) });
    }
    Some(match from_pod(bytes, endpoint, packet, kind) {
        None => Verdict::Pass,
        Some(reason) => Verdict::drop(reason),
    })
}

/// The reason for which a message that a pod sends is dropped, if any.
#[inline(always)]
fn from_pod(bytes: &impl Bytes, endpoint: &Endpoint, packet: &Packet, kind: u8) -> Option<Reason> {
    if kind == ROUTER_ADVERTISEMENT || kind == REDIRECT {
        return Some(Reason::RouterMessage);
    }
    let unspecified = packet.source == UNSPECIFIED;
    if !(unspecified || own(endpoint, packet.source)) {
        return Some(Reason::SpoofedSource);
    }
    let (solicits, advertises) = (kind == NEIGHBOUR_SOLICITATION, kind == NEIGHBOUR_ADVERTISEMENT);
    if packet.destination.is_multicast6() {
        // An MLD report goes to its own group, with a hop limit of 1 that keeps it on the link.
        let on_link = packet.destination.is_link_multicast6() || packet.hops == 1;
        if !on_link {
            return Some(Reason::InvalidNeighbour);
        }
    } else if !(solicits || advertises) || !on_link(endpoint, packet.destination) {
        return Some(Reason::InvalidNeighbour);
    }
    if !(solicits || advertises) {
        return None;
    }
    let target = usize::from(packet.upper) + 8;
    let is_whole = target + size_of::<Ip>() <= packet.end as usize;
    let Some(target) = bytes.load::<Ip>(target).filter(|_| is_whole) else {
        return Some(Reason::Malformed);
    };
    if solicits && !packet.destination.is_multicast6() && target != packet.destination {
        return Some(Reason::InvalidNeighbour);
    }
    // From `::`, a solicitation is duplicate address detection for the pod's own address
    // (RFC 4862, 5.4.2).
    let speaks_for_target = advertises || unspecified;
    if (speaks_for_target && !own(endpoint, target)) || (advertises && unspecified) {
        return Some(Reason::SpoofedNeighbour);
    }
    None
}

/// Whether an address is the pod's own, or a link-local one.
#[inline(always)]
fn own(endpoint: &Endpoint, address: Ip) -> bool {
    address == Ip::new(endpoint.address6) || address.is_link_local6()
}

/// Whether a unicast destination can be on the pod's link; the hop limit, which the pod itself
/// wrote, proves nothing here.
#[inline(always)]
fn on_link(endpoint: &Endpoint, destination: Ip) -> bool {
    destination.is_link_local6()
        || destination.high == Ip::new(endpoint.address6).high
        || NODE_ADDRESSES.get_ptr(destination.bytes()).is_some()
}
