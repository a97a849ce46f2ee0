//! The origin of a packet to a pod, as far as it is proven (S27, S37, S39).

use policy_common::{
    endpoint::NodeKind,
    flow::{ARRIVED, Initiator},
};

use super::{arrival::Arrival, endpoint};
use crate::{
    address::Ip,
    flow::table::{self, FlowEntry},
    maps::NODE_ADDRESSES,
    parse::headers::Fragment,
};

/// The end that opens a connection, as far as it is proven.
pub(crate) struct Origin {
    pub(crate) initiator: Initiator,
    /// Slot of the pod of this node that really sends the packets; 0 if it is none.
    pub(crate) sender: u32,
    /// The address of the far end that the rules are looked up for: a local pod's own address, even
    /// where the packet carries a masqueraded one.
    pub(crate) address: Ip,
}

/// The result of `origin_prove` for a process of the node. No slot is so large.
const NODE: u32 = 1 << 31;

/// The sender of a packet from an address that arrived by an interface with a `tc_index`: the slot
/// of a pod of this node under whatever source address, `NODE` for a process of the node, or 0 for
/// another machine.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn origin_prove(high: u64, low: u64, tc_index: u32, ingress_ifindex: u32) -> u32 {
    let source = Ip { high, low };
    // A link-local address without an interface is the node's own: such packets are not forwarded.
    let is_own = || source.is_link_local6() || kind(source) == NodeKind::Own as u32;
    if ingress_ifindex == 0 && is_own() {
        return NODE;
    }
    endpoint::sender(tc_index, ingress_ifindex).map_or(0, |sender| sender.slot)
}

/// The sender of a packet that arrived so.
#[inline(always)]
fn prove(arrival: &Arrival<'_>, how: u64) -> u32 {
    let source = arrival.packet.source;
    let tc_index = (how & !ARRIVED) >> 32;
    let sender = origin_prove(source.high, source.low, tc_index as u32, how as u32);
    if sender == NODE && lost_its_way(arrival) { 0 } else { sender }
}

/// Whether a packet may have been forwarded although it shows no interface: a router that takes a
/// datagram apart again drops that from the fragments (`ip6_copy_metadata`). A process of the node
/// leaves its socket on its own fragments.
#[inline(always)]
fn lost_its_way(arrival: &Arrival<'_>) -> bool {
    arrival.packet.fragment != Fragment::WHOLE
        && arrival.skb.ingress_ifindex() == 0
        && !arrival.skb.has_socket()
}

/// The origin of a packet to a pod: a process of the node, a pod of this node, or another machine.
#[inline(always)]
pub(crate) fn of(arrival: &Arrival<'_>) -> Origin {
    let source = arrival.packet.source;
    match prove(arrival, arrival.skb.arrival()) {
        NODE => Origin { initiator: Initiator::Node, sender: 0, address: source },
        slot => Origin {
            initiator: Initiator::Remote,
            sender: slot,
            address: endpoint::of_slot(slot)
                .map_or(source, |sender| endpoint::address(sender, source)),
        },
    }
}

/// Whether a packet to the pod comes from the sender of its flow (S27).
///
/// A tuple may be given to another sender by address translation. Example: a masqueraded question
/// of `friend` and, when `nf_conntrack` has forgotten it, one of `stranger` both arrive from
/// 172.30.9.11:40000, an address of this node; the flow belongs to `friend`.
///
/// A packet that arrives as the last one did needs no look-up.
#[inline(always)]
pub(crate) fn is_flows_sender(arrival: &Arrival<'_>, entry: &mut FlowEntry) -> bool {
    let how = arrival.skb.arrival();
    if entry.arrival == how && !lost_its_way(arrival) {
        return true;
    }
    let source = arrival.packet.source;
    let same = match Initiator::from_number(entry.judgement.initiator) {
        Initiator::Node => prove(arrival, how) == NODE,
        Initiator::Remote | Initiator::Either => {
            prove(arrival, how) == u32::from(entry.judgement.sender)
        }
        // The pod opened the connection, so the first reply shows who answers. After that another
        // sender can take over, such as another backend of a Service; but not under an address of a
        // node, which masqueraded senders share.
        Initiator::Local => {
            entry.arrival == 0 || kind(source) == 0 || {
                prove(arrival, how) == prove(arrival, entry.arrival)
            }
        }
    };
    if same {
        table::store_arrival(entry, how);
    }
    same
}

/// The number of the `NodeKind` of an address; 0 if it is no node's.
#[inline(always)]
fn kind(address: Ip) -> u32 {
    match NODE_ADDRESSES.get_ptr(address.bytes()) {
        // SAFETY: the kernel keeps the element readable while the program runs; one aligned word.
        Some(kind) => unsafe { kind.read_volatile() },
        None => 0,
    }
}
