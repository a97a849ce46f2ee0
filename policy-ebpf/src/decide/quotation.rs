//! ICMP errors: they pass if the packet that they quote belongs to a known flow (S31).

use aya_ebpf::bindings::__sk_buff;
use policy_common::{drops::Direction, flow::translation};

use super::{endpoint, known::rejudge};
use crate::{
    element::copy_words,
    flow::{
        family::{Ends, Family, Ports, V4, V6, write_key},
        table::{self, Lookup},
    },
    parse::quote::{Quotation, read4, read6},
    scratch,
    skb::Skb,
};

/// The quoted packet belongs to a flow.
pub(crate) const QUOTES_FLOW: u32 = 1;
/// As `QUOTES_FLOW`, and the flow is translated: the quotation must be translated back.
pub(crate) const QUOTES_TRANSLATED_FLOW: u32 = 2;

/// Reads the packet that the ICMP error in the scratch map quotes; 0 where that cannot be read.
///
/// Subprograms read and look up one after the other, because their stack is too small for both.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_read4(skb: *mut __sk_buff) -> u32 {
    read(Skb::new(skb), read4)
}

/// As `quote_read4`, for ICMPv6.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_read6(skb: *mut __sk_buff) -> u32 {
    read(Skb::new(skb), read6)
}

/// [`QUOTES_FLOW`] or [`QUOTES_TRANSLATED_FLOW`] where an ICMP error quotes a packet of a known flow of
/// the pod, else 0.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_known4(skb: *mut __sk_buff, direction: u32) -> u32 {
    find_quoted_flow::<V4>(Skb::new(skb), direction).unwrap_or(0)
}

/// As `quote_known4`, for ICMPv6.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_known6(skb: *mut __sk_buff, direction: u32) -> u32 {
    find_quoted_flow::<V6>(Skb::new(skb), direction).unwrap_or(0)
}

#[inline(always)]
fn read(skb: Skb, read: impl Fn(&Skb, (usize, u32), &mut Quotation) -> Option<()>) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let quotation = unsafe { &mut (*scratch).quotation };
    // SAFETY: as above; another field.
    let outer = unsafe { &(*scratch).packet };
    u32::from(read(&skb, (usize::from(outer.upper), outer.end), quotation).is_some())
}

/// Finds the flow of the quoted packet: [`QUOTES_FLOW`] or [`QUOTES_TRANSLATED_FLOW`], with the
/// translation in the scratch map; `None` where no live flow has it.
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
fn find_quoted_flow<F: Family>(skb: Skb, direction: u32) -> Option<u32> {
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let quotation = unsafe { &(*scratch).quotation };
    // SAFETY: as above; another field.
    let outer = unsafe { &(*scratch).packet };
    // SAFETY: as above; the caller has looked it up.
    let endpoint = unsafe { &(*scratch).endpoint };
    // SAFETY: as above; the caller writes the flow again after this call.
    let flow = unsafe { &mut *F::scratch_flow(scratch) };
    let ifindex = skb.ifindex();
    let epoch = endpoint::epoch(ifindex);
    let Quotation { source, destination, protocol, source_port, destination_port, .. } = *quotation;
    let sent = direction == Direction::Egress as u32;
    let (local, remote, ports) = if sent {
        (destination, source, Ports { local: destination_port, remote: source_port })
    } else {
        (source, destination, Ports { local: source_port, remote: destination_port })
    };
    let answers = !sent || outer.destination == remote;
    if !answers {
        return None;
    }
    let ends = Ends { ifindex, local, remote, ports, protocol };
    write_key::<F>(flow, &ends);
    let Lookup::Found(mut entry) = table::find::<F>(&flow.key, protocol) else {
        return None;
    };
    if entry.judgement.epoch != epoch {
        if !endpoint::may_have(endpoint, &ends) {
            return None;
        }
        rejudge(endpoint, &mut entry, epoch, &ends);
    }
    if entry.denied() != 0 {
        return None;
    }
    let bit = if sent { translation::TO_BACKEND } else { translation::TO_FRONTEND };
    if !entry.is_translated() || entry.translation().bits & bit == 0 {
        return Some(QUOTES_FLOW);
    }
    // SAFETY: as above; another field.
    copy_words(entry.translation(), unsafe { &mut (*scratch).translation });
    Some(QUOTES_TRANSLATED_FLOW)
}
