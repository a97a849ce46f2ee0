//! Fragments of datagrams: later ones follow the first one's verdict (S33).
//!
//! The first fragment has the ports, is judged as any packet, and is remembered if it passes:
//!
//! ```text
//! 10.0.0.1 → 10.0.0.2, id 7, first: UDP port 53: a rule allows it: remembered at a place of the pod
//! 10.0.0.1 → 10.0.0.2, id 7, later: remembered: passes
//! 10.0.0.1 → 10.0.0.2, id 8, later: unknown: passes only if the rules allow every port
//! ```
//!
//! A datagram without its first fragment is never put together, so a later one that is let through
//! by mistake reaches no socket.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_ktime_get_ns};
use policy_common::{
    drops::Direction,
    endpoint::Endpoint,
    flow::Initiator,
    fragment::{Fragment, PLACES},
};

use super::{
    arrival::Arrival,
    endpoint,
    origin::Origin,
    rules::{self, Peer},
    verdict::Verdict,
};
use crate::{
    element::{is_still, read_address, read_once},
    maps::FRAGMENTS,
    parse::{headers, ip::Packet},
    scratch,
};

/// How long fragments of a datagram are waited for, in nanoseconds: `net.ipv4.ipfrag_time`, and half
/// of what RFC 8200, 4.5 says for IPv6.
const LIFE: u64 = 30_000_000_000;

/// Remembers a datagram of which this packet, which passes, is the first fragment.
#[inline(always)]
pub(crate) fn remember(arrival: &Arrival<'_>, slot: u32) {
    if arrival.packet.fragment == headers::Fragment::FIRST {
        fragment_remember(arrival.ifindex(), slot);
    }
}

/// Judges a later fragment.
#[inline(always)]
pub(crate) fn judge(arrival: &Arrival<'_>, endpoint: &Endpoint, from: &Origin) -> Verdict {
    let allow_map = endpoint::allow_map(endpoint, arrival.direction);
    let is_free = allow_map == 0
        || matches!(from.initiator, Initiator::Node)
        || (matches!(arrival.direction, Direction::Ingress) && from.sender == endpoint.slot);
    if is_free || fragment_is_remembered(arrival.ifindex(), endpoint.slot) != 0 {
        return Verdict::Pass;
    }
    let (address, protocol) = (from.address, arrival.packet.protocol);
    rules::any_port(allow_map, &Peer { address, protocol, port: [0; 2] })
}

/// Remembers the packet of the scratch map. A subprogram, because few packets need it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn fragment_remember(ifindex: u32, slot: u32) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &(*scratch).packet };
    let datagram = Fragment {
        source: packet.source.bytes(),
        destination: packet.destination.bytes(),
        id: packet.id,
        ifindex,
        // SAFETY: the helper takes no argument and only returns the clock.
        time: unsafe { bpf_ktime_get_ns() },
    };
    let _ = FRAGMENTS.insert(place(packet, slot), datagram, u64::from(BPF_ANY));
    0
}

/// Whether the first fragment of the datagram in the scratch map passed a moment ago.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn fragment_is_remembered(ifindex: u32, slot: u32) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &(*scratch).packet };
    let Some(pointer) = FRAGMENTS.get_ptr(place(packet, slot)) else { return 0 };
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the datagram that is read last differs.
    let found = unsafe { &*pointer };
    let time = read_once(&found.time);
    let same = is_still(&[found.id, found.ifindex], &[packet.id, ifindex])
        && read_address(&found.source) == packet.source
        && read_address(&found.destination) == packet.destination;
    // SAFETY: the helper takes no argument and only returns the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    u32::from(same && now < time + LIFE)
}

/// The place of a datagram among those of its endpoint.
#[inline(always)]
fn place(packet: &Packet, slot: u32) -> u32 {
    let words = packet.source.low ^ packet.destination.low.rotate_left(7) ^ packet.source.high;
    let mixed = (words ^ words >> 32) as u32 ^ packet.id;
    slot * PLACES + ((mixed ^ mixed >> 16 ^ mixed >> 6) & (PLACES - 1))
}
