//! Packets of pods that nothing ever isolated: anti-spoofing is all that concerns them (S46).
//!
//! Packets to such pods pass before anything of them is read (`classify`).

use policy_common::{drops::Direction, flow::FlowKey, protocol::UDP};

use super::Path;
use crate::{
    decide::tunnel::is_tunnel_port, element::read_once, flow::family::Family, maps::ENDPOINTS,
    skb::Skb,
};

/// The way of a packet with this key, at an interface without an epoch.
#[inline(always)]
pub(super) fn path<F: Family>(skb: Skb, direction: Direction, key: &FlowKey<F::Address>) -> Path {
    if matches!(direction, Direction::Ingress) {
        return Path::Slow;
    }
    let Some(pointer) = ENDPOINTS.get_ptr(key.ifindex) else { return Path::Slow };
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the interface that is read last differs.
    let endpoint = unsafe { &*pointer };
    let slot = read_once(&endpoint.slot);
    let rules = read_once(&endpoint.ingress) | read_once(&endpoint.egress);
    let flags = read_once(&endpoint.flags);
    let owns = F::owns(endpoint, &key.local);
    let is_still = read_once(&endpoint.ifindex) == key.ifindex;
    if rules | flags != 0 || !owns || !is_still {
        return Path::Slow;
    }
    if key.protocol == UDP && is_tunnel_port(key.remote_port) {
        return Path::Slow;
    }
    skb.store_sender_slot(direction, slot);
    Path::Pass
}
