//! Counts each dropped packet, and sends a record of it while the interface's budget lasts.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_ANY, BPF_NOEXIST},
    helpers::bpf_ktime_get_ns,
};
use policy_common::drops::{Direction, DropKey, DropRecord, RecordCharge};

use super::budget;
use crate::{
    decide::endpoint,
    maps::{DROPS, EVENTS, RECORD_INTERVAL},
    parse::{Bytes as _, ip::Packet},
    scratch,
    skb::Skb,
};

/// Counts a dropped packet and sends its record.
///
/// The packet is the one in the scratch map, as far as it was parsed.
/// A subprogram that takes scalars, so that it has a stack of its own.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn drops_report(
    skb: *mut __sk_buff,
    direction: u32,
    reason: u32,
    allow_map: u32,
    identity: u32,
) -> u32 {
    let skb = Skb::new(skb);
    let ifindex = skb.ifindex();
    let (direction, reason) = (direction as u8, reason as u8);
    count(&DropKey { ifindex, direction, reason, pad: [0; 2] });
    // SAFETY: the helper takes no argument and only returns the clock.
    let time = unsafe { bpf_ktime_get_ns() };
    let charge =
        RecordCharge { ifindex: sender(skb, direction, ifindex), direction: direction.into() };
    let Some(withheld) = budget::take(&charge, time, RECORD_INTERVAL.load()) else { return 0 };
    let Some(mut reserved) = EVENTS.reserve(0) else {
        budget::give_back(&charge, withheld);
        return 0;
    };
    // Field by field: a whole record does not fit on the stack beside the callers'.
    let record = reserved.as_mut_ptr();
    for word in 0..size_of::<DropRecord>() / size_of::<u64>() {
        // SAFETY: the ring buffer reserved the size of a record, aligned as a double word is. Volatile,
        // because the compiler makes `memset` of other writes.
        unsafe { record.cast::<u64>().wrapping_add(word).write_volatile(0) };
    }
    // SAFETY: as above; zero is a value of each of its fields.
    let record = unsafe { &mut *record };
    record.time = time;
    record.withheld = withheld;
    record.ifindex = ifindex;
    record.allow_map = allow_map;
    record.identity = identity;
    record.length = skb.length();
    record.ether_type = skb.ether_type();
    record.direction = direction;
    record.reason = reason;
    if let Some(scratch) = scratch::get() {
        // SAFETY: the map has one element for each CPU, and no other program runs on this one.
        let packet = unsafe { &(*scratch).packet };
        if packet.has_addresses {
            describe(record, direction == Direction::Egress as u8, packet);
        }
    }
    reserved.submit(0);
    0
}

/// The interface of the pod of this node that sent the packet, or else the one where it is dropped.
#[inline(always)]
fn sender(skb: Skb, direction: u8, ifindex: u32) -> u32 {
    if direction == Direction::Egress as u8 {
        return ifindex;
    }
    endpoint::sender(skb.tc_index(), skb.ingress_ifindex()).map_or(ifindex, |sender| sender.ifindex)
}

#[inline(always)]
fn describe(record: &mut DropRecord, sent: bool, packet: &Packet) {
    (record.local, record.remote) = if sent {
        (packet.source.bytes(), packet.destination.bytes())
    } else {
        (packet.destination.bytes(), packet.source.bytes())
    };
    record.protocol = packet.protocol;
    if let Ok(transport) = packet.transport() {
        record.tcp_flags = transport.tcp_flags;
        (record.local_port, record.remote_port) = if sent {
            (transport.source, transport.destination)
        } else {
            (transport.destination, transport.source)
        };
    }
}

/// Adds one to this CPU's counter.
#[inline(always)]
fn count(key: &DropKey) {
    if let Some(counter) = DROPS.get_ptr_mut(*key) {
        // SAFETY: the element is this CPU's own, and programs of one CPU do not interrupt
        // one another at the same hook.
        unsafe { *counter += 1 };
        return;
    }
    if DROPS.insert(*key, 1_u64, u64::from(BPF_NOEXIST)).is_err() {
        // Another CPU created the entry first, with this CPU's counter at zero.
        let _ = DROPS.insert(*key, 1_u64, u64::from(BPF_ANY));
    }
}
