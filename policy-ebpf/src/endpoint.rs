//! The endpoint of a packet, and what it owns.

use policy_common::{
    address::{Address, mapped},
    endpoint::Endpoint,
    limits,
};

use crate::{
    address::{is_link_local6, is_link_multicast6, is_mapped, same},
    maps::{ENDPOINTS, EPOCHS, SLOTS},
};

/// The epoch of an interface; 0 where no isolated endpoint shares the word.
///
/// To be read before anything that a verdict depends on.
#[inline(always)]
pub(crate) fn epoch(ifindex: u32) -> u32 {
    match EPOCHS.get_ptr(ifindex & (limits::EPOCHS as u32 - 1)) {
        // SAFETY: an element of an array map stays where it is; one aligned word, volatile
        // because user space writes it at any time.
        Some(word) => unsafe { word.read_volatile() },
        None => 0,
    }
}

/// The endpoint of an interface.
#[inline(always)]
pub(crate) fn find(ifindex: u32) -> Option<Endpoint> {
    let pointer = ENDPOINTS.get_ptr(ifindex)?;
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the key in the copy tells.
    let endpoint = unsafe { pointer.read() };
    if endpoint.ifindex == ifindex {
        Some(endpoint)
    } else {
        None
    }
}

/// The endpoint of this node that a packet really comes from (S37, S39).
///
/// `tc_index` was left by the program at the sender's veth. Hosts that share a kernel hand it on
/// to one another, so the packet must also have come in by the interface of that slot, or by the
/// bridge that the interface is a port of.
#[inline(always)]
pub(crate) fn sender(tc_index: u32, ingress_ifindex: u32) -> Option<Endpoint> {
    if tc_index == 0 || ingress_ifindex == 0 {
        return None;
    }
    let ifindex = *SLOTS.get(tc_index)?;
    let endpoint = find(ifindex)?;
    let arrived =
        ingress_ifindex == ifindex || (endpoint.bridge != 0 && ingress_ifindex == endpoint.bridge);
    if endpoint.slot == tc_index && arrived {
        Some(endpoint)
    } else {
        None
    }
}

/// Whether some policy selects the pod.
#[inline(always)]
pub(crate) fn is_isolated(endpoint: &Endpoint) -> bool {
    endpoint.ingress | endpoint.egress != 0
}

/// Whether an address is the pod's own.
#[inline(always)]
pub(crate) fn owns(endpoint: &Endpoint, address: &Address) -> bool {
    if is_mapped(address) {
        endpoint.address4 != [0; 4] && same(address, &mapped(endpoint.address4))
    } else {
        !same(address, &[0; 16]) && same(address, &endpoint.address6)
    }
}

/// Whether the pod may send from `source` to `destination` (S32, S46).
#[inline(always)]
pub(crate) fn may_send(endpoint: &Endpoint, source: &Address, destination: &Address) -> bool {
    owns(endpoint, source)
        || (is_link_local6(source)
            && (is_link_local6(destination) || is_link_multicast6(destination)))
}

/// The pod's address of the family that `like` is of.
#[inline(always)]
pub(crate) fn address(endpoint: &Endpoint, like: &Address) -> Address {
    if is_mapped(like) {
        mapped(endpoint.address4)
    } else {
        endpoint.address6
    }
}
