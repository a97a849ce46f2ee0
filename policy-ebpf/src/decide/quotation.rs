//! ICMP errors: they pass if the packet that they quote belongs to a known flow (S31).

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use policy_common::{
    drops::Direction,
    endpoint::Endpoint,
    flow::Flow,
    protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
};

use crate::{
    address::Ip,
    endpoint,
    family::{Ends, Family, Ports, V4, V6, write_key},
    flow::{self, Lookup},
    inspect, judge,
    maps::SCRATCH,
    packet::ETHER_LENGTH,
};

/// Bytes of an ICMP header; the quoted packet follows it.
const ICMP_LENGTH: usize = 8;

/// The packet that an error quotes.
pub(crate) struct Quotation {
    source: Ip,
    destination: Ip,
    protocol: u8,
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

/// 1 where an ICMP error quotes a packet of a known flow of the pod.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_known4(skb: *mut __sk_buff, direction: u32) -> u32 {
    u32::from(of_family::<V4>(&TcContext::new(skb), direction, read4).unwrap_or(false))
}

/// As `quote_known4`, for ICMPv6.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn quote_known6(skb: *mut __sk_buff, direction: u32) -> u32 {
    u32::from(of_family::<V6>(&TcContext::new(skb), direction, read6).unwrap_or(false))
}

#[inline(always)]
fn of_family<F: Family>(
    ctx: &TcContext,
    direction: u32,
    read: impl Fn(&TcContext, &mut Quotation) -> Option<()>,
) -> Option<bool> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let quotation = unsafe { &mut (*scratch).quotation };
    // SAFETY: as above; another field.
    let outer = unsafe { &(*scratch).packet };
    // SAFETY: as above; the caller has looked it up.
    let endpoint = unsafe { &(*scratch).endpoint };
    // SAFETY: as above; the caller writes the flow again after this call.
    let flow = unsafe { &mut *F::scratch_flow(scratch) };
    read(ctx, quotation)?;
    Some(known::<F>(ctx, direction, outer.destination, quotation, endpoint, flow))
}

#[inline(always)]
fn read4(ctx: &TcContext, quotation: &mut Quotation) -> Option<()> {
    let start = ETHER_LENGTH + 20 + ICMP_LENGTH;
    let header: [u8; 20] = ctx.load(start).ok()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if header[0] >> 4 != 4 || length < 20 || later_fragment {
        return None;
    }
    quotation.source = Ip::mapped([header[12], header[13], header[14], header[15]]);
    quotation.destination = Ip::mapped([header[16], header[17], header[18], header[19]]);
    quotation.protocol = header[9];
    ports(ctx, start + length, quotation)
}

#[inline(always)]
fn read6(ctx: &TcContext, quotation: &mut Quotation) -> Option<()> {
    let start = ETHER_LENGTH + 40 + ICMP_LENGTH;
    let first: [u8; 8] = ctx.load(start).ok()?;
    if first[0] >> 4 != 6 {
        return None;
    }
    quotation.source = ctx.load(start + 8).ok()?;
    quotation.destination = ctx.load(start + 24).ok()?;
    quotation.protocol = first[6];
    ports(ctx, start + 40, quotation)
}

/// Reads the ports of the quoted header, of which eight bytes are there (RFC 792).
#[inline(always)]
fn ports(ctx: &TcContext, offset: usize, quotation: &mut Quotation) -> Option<()> {
    let header: [u8; 8] = ctx.load(offset).ok()?;
    let identifier = [header[4], header[5]];
    (quotation.source_port, quotation.destination_port) = match quotation.protocol {
        TCP | UDP | SCTP => ([header[0], header[1]], [header[2], header[3]]),
        ICMP if matches!(header[0], 0 | 8) => (identifier, identifier),
        ICMPV6 if matches!(header[0], 128 | 129) => (identifier, identifier),
        _ => return None,
    };
    Some(())
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
fn known<F: Family>(
    ctx: &TcContext,
    direction: u32,
    outer_destination: Ip,
    quotation: &Quotation,
    endpoint: &Endpoint,
    flow: &mut Flow<F::Address>,
) -> bool {
    let ifindex = inspect::ifindex(ctx);
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
    let Lookup::Found(mut entry) = flow::find::<F>(&flow.key, protocol) else {
        return false;
    };
    if entry.judgement.epoch != epoch {
        judge::rejudge(endpoint, &mut entry, epoch, &ends);
    }
    entry.judgement.denied == 0
}
