//! ICMP errors: they pass if the packet that they quote belongs to a known flow (S31).

use aya_ebpf::bindings::__sk_buff;
use policy_common::{drops::Direction, endpoint::Endpoint, flow::Flow};

use super::{endpoint, known::rejudge};
use crate::{
    address::Ip,
    flow::{
        family::{Ends, Family, Ports, V4, V6, write_key},
        table::{self, Lookup},
    },
    parse::quote::{Quotation, read4, read6},
    scratch,
    skb::Skb,
};

/// 1 where an ICMP error quotes a packet of a known flow of the pod.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_known4(skb: *mut __sk_buff, direction: u32) -> u32 {
    u32::from(of_family::<V4>(Skb::new(skb), direction, read4).unwrap_or(false))
}

/// As `quote_known4`, for ICMPv6.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_known6(skb: *mut __sk_buff, direction: u32) -> u32 {
    u32::from(of_family::<V6>(Skb::new(skb), direction, read6).unwrap_or(false))
}

#[inline(always)]
fn of_family<F: Family>(
    skb: Skb,
    direction: u32,
    read: impl Fn(&Skb, (usize, u32), &mut Quotation) -> Option<()>,
) -> Option<bool> {
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let quotation = unsafe { &mut (*scratch).quotation };
    // SAFETY: as above; another field.
    let outer = unsafe { &(*scratch).packet };
    // SAFETY: as above; the caller has looked it up.
    let endpoint = unsafe { &(*scratch).endpoint };
    // SAFETY: as above; the caller writes the flow again after this call.
    let flow = unsafe { &mut *F::scratch_flow(scratch) };
    read(&skb, (usize::from(outer.upper), outer.end), quotation)?;
    Some(is_known::<F>(skb, direction, outer.destination, quotation, endpoint, flow))
}

/// Whether the quoted packet belongs to a live flow of the pod.
///
/// An error that the pod receives quotes a packet that the pod sent. An error that the pod sends
/// quotes a packet that it received, and must go to the sender of that packet. Example:
///
/// ```text
/// web → api:       UDP 10.244.0.10:4000 → 10.244.0.11:53
/// api → web:       ICMP port unreachable, quoting exactly that packet
/// at web (to_pod): local 10.244.0.10:4000, remote 10.244.0.11:53: a known flow, so it passes
/// ```
#[inline(always)]
fn is_known<F: Family>(
    skb: Skb,
    direction: u32,
    outer_destination: Ip,
    quotation: &Quotation,
    endpoint: &Endpoint,
    flow: &mut Flow<F::Address>,
) -> bool {
    let ifindex = skb.ifindex();
    let epoch = endpoint::epoch(ifindex);
    let Quotation { source, destination, protocol, source_port, destination_port } = *quotation;
    let sent = direction == Direction::Egress as u32;
    let (local, remote, ports) = if sent {
        (destination, source, Ports { local: destination_port, remote: source_port })
    } else {
        (source, destination, Ports { local: source_port, remote: destination_port })
    };
    let answers = !sent || outer_destination == remote;
    if !answers {
        return false;
    }
    let ends = Ends { ifindex, local, remote, ports, protocol };
    write_key::<F>(flow, &ends);
    let Lookup::Found(mut entry) = table::find::<F>(&flow.key, protocol) else {
        return false;
    };
    if entry.judgement.epoch != epoch {
        if !endpoint::may_have(endpoint, &ends) {
            return false;
        }
        rejudge(endpoint, &mut entry, epoch, &ends);
    }
    entry.denied() == 0
}
