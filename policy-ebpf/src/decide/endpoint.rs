//! Look-ups of endpoints: by interface, and by the sender's slot.

use policy_common::{
    drops::Direction,
    endpoint::{Endpoint, flags},
    limits,
};

use super::tunnel;
use crate::{
    address::{Ip, UNSPECIFIED},
    element::{copy_words, read_once},
    flow::family::Ends,
    maps::{ENDPOINTS, EPOCHS, SLOTS},
    scratch,
};

/// The epoch of an interface; 0 if no endpoint that shares the word was ever isolated or tracking.
///
/// Must be read before everything that a verdict depends on (docs/adr/0001).
#[inline(always)]
pub(crate) fn epoch(ifindex: u32) -> u32 {
    match EPOCHS.get_ptr(ifindex & (limits::EPOCHS as u32 - 1)) {
        // SAFETY: an element of an array map stays where it is; one aligned word, volatile
        // because user space writes it at any time.
        Some(word) => unsafe { word.read_volatile() },
        None => 0,
    }
}

/// The endpoint of an interface, copied to the scratch map.
#[inline(always)]
pub(crate) fn find(ifindex: u32) -> Option<&'static Endpoint> {
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one; a
    // packet's endpoint is looked up once.
    copy(ifindex, unsafe { &mut (*scratch).endpoint })
}

/// Copies an endpoint; if the kernel recycles its element meanwhile, the key that is read last
/// differs, and the result is `None`.
#[inline(always)]
fn copy(ifindex: u32, copy: &mut Endpoint) -> Option<&Endpoint> {
    let pointer = ENDPOINTS.get_ptr(ifindex)?;
    // SAFETY: the kernel keeps the element readable while the program runs; other CPUs write it, and
    // `copy_words` reads each word by a volatile access.
    let element = unsafe { &*pointer };
    copy_words(element, copy);
    let still = read_once(&element.ifindex);
    if copy.ifindex == ifindex && still == ifindex { Some(copy) } else { None }
}

/// The pod of this node that really sent a packet (S37, S39).
///
/// The program at the sender's veth stored its slot in `tc_index`. Nodes that share a kernel pass
/// that field on to one another, so the packet must also have come in through the interface of
/// that slot, or through the bridge that the interface is a port of (docs/adr/0005).
#[inline(always)]
pub(crate) fn sender(tc_index: u32, ingress_ifindex: u32) -> Option<&'static Endpoint> {
    let endpoint = of_slot(tc_index)?;
    let arrived = ingress_ifindex == endpoint.ifindex
        || (endpoint.bridge != 0 && ingress_ifindex == endpoint.bridge);
    if arrived { Some(endpoint) } else { None }
}

/// The endpoint with a slot, copied to the scratch map.
#[inline(always)]
pub(crate) fn of_slot(slot: u32) -> Option<&'static Endpoint> {
    if slot == 0 {
        return None;
    }
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one; a
    // packet's sender is looked up once.
    let endpoint = copy(*SLOTS.get(slot)?, unsafe { &mut (*scratch).sender })?;
    if endpoint.slot == slot { Some(endpoint) } else { None }
}

/// Whether some policy selects the pod.
#[inline(always)]
pub(crate) fn is_isolated(endpoint: &Endpoint) -> bool {
    endpoint.ingress | endpoint.egress != 0
}

/// The allow map of a direction; 0 where the pod is non-isolated in it.
#[inline(always)]
pub(crate) fn allow_map(endpoint: &Endpoint, direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => endpoint.ingress,
        Direction::Egress => endpoint.egress,
    }
}

/// Whether everything passes and is recorded, because the pod is about to be isolated.
#[inline(always)]
pub(crate) fn is_tracked(endpoint: &Endpoint) -> bool {
    endpoint.flags & flags::TRACKING != 0
}

/// Whether an address is the pod's own.
#[inline(always)]
pub(crate) fn owns(endpoint: &Endpoint, address: Ip) -> bool {
    // A pod without an address of the family has zero there, which is no address.
    let none = address == UNSPECIFIED || address == Ip::mapped([0; 4]);
    !none && address == self::address(endpoint, address)
}

/// Whether the pod may send from `source` to `destination` (S32, S46).
#[inline(always)]
pub(crate) fn may_send(endpoint: &Endpoint, source: Ip, destination: Ip) -> bool {
    owns(endpoint, source)
        || (source.is_link_local6()
            && (destination.is_link_local6() || destination.is_link_multicast6()))
}

/// Whether the pod may have a connection with these ends: it may not keep one that it opened while it
/// might send anything (S46).
#[inline(always)]
pub(crate) fn may_have(endpoint: &Endpoint, ends: &Ends) -> bool {
    endpoint.flags & flags::MAY_SPOOF != 0
        || (may_send(endpoint, ends.local, ends.remote) && !tunnel::leads_into(ends))
}

/// The pod's address of the same family as `like`.
#[inline(always)]
pub(crate) fn address(endpoint: &Endpoint, like: Ip) -> Ip {
    if like.is_mapped() { Ip::mapped(endpoint.address4) } else { Ip::new(endpoint.address6) }
}
