//! Replies to what a pod may not send, so that its application need not wait for a timeout (S59).
//!
//! `classify` calls [`reject_reply`] after a drop for which policies are the cause, of a connection that
//! the pod opened; the result is a TC action. The program turns the packet itself into the reply, and
//! passes it on to the other end of the veth, past every other hook:
//!
//! ```text
//! the pod sends   IPv4, TCP, 10.244.0.10:40000 → 10.244.1.10:80, SYN, sequence 7
//! the pod gets    IPv4, TCP, 10.244.1.10:80 → 10.244.0.10:40000, RST, acknowledges 8
//! the pod sends   IPv6, UDP, fd00::10 → fd00::20, 3000 bytes
//! the pod gets    IPv6, ICMPv6, fd00::20 → fd00::10, prohibited, quotes the first 1232 bytes
//! ```
//!
//! The reply depends on the packet alone: it is the same whether the far end exists or not.

mod checksum;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT},
    helpers::bpf_ktime_get_ns,
};
use policy_common::{
    drops::{REPLIES, RecordCharge},
    endpoint::{Endpoint, flags},
    limits::REPLY_INTERVAL,
    protocol::{ICMP, ICMPV6, TCP},
};

use self::checksum::{Block, checksum};
use super::budget;
use crate::{
    decide::endpoint,
    parse::{
        Bytes as _, ETHER_LENGTH,
        headers::Fragment,
        ip::Packet,
        transport::{ACK, RST, Transport},
    },
    scratch,
    skb::Skb,
};

/// Bytes of an ICMP header, which the quoted packet follows.
const ICMP_LENGTH: u32 = 8;

/// Bytes of a TCP header without options.
const TCP_LENGTH: u32 = 20;

/// The time to live, or hop limit, of every reply.
const HOPS: u8 = 64;

/// The kinds of message for "communication administratively prohibited": ICMP type 3, code 13 (RFC
/// 1812, 5.2.7.1), and ICMPv6 type 1, code 1 (RFC 4443, 3.1).
const PROHIBITED: [u8; 2] = [3, 13];
const PROHIBITED6: [u8; 2] = [1, 1];

/// Bytes of a packet with an error: at most 576 (RFC 1812, 4.3.2.3), in IPv6 1280 (RFC 4443, 2.4 (c)).
const ERROR_LENGTH: u32 = 576;
const ERROR_LENGTH6: u32 = 1280;

/// Answers a packet of a pod that was dropped, if its endpoint asks for replies and the packet is one
/// that may be answered; the result is a TC action.
///
/// The packet is the one in the scratch map. A subprogram that takes scalars, so that it has a stack of
/// its own.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn reject_reply(skb: *mut __sk_buff) -> i32 {
    answer(Skb::new(skb)).unwrap_or(TC_ACT_SHOT)
}

/// `None` where there is no reply. A packet that was changed already is dropped then, too.
#[inline(always)]
fn answer(skb: Skb) -> Option<i32> {
    let ifindex = skb.ifindex();
    let endpoint = endpoint::find(ifindex)?;
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one; `find`
    // wrote another field.
    let packet = unsafe { &(*scratch).packet };
    let transport = packet.transport().ok()?;
    if endpoint.flags & flags::REJECT == 0 || !may_be_answered(skb, endpoint, packet, transport) {
        return None;
    }
    // SAFETY: the helper takes no argument and only returns the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    budget::take(&RecordCharge { ifindex, direction: REPLIES }, now, REPLY_INTERVAL)?;
    let header = if packet.source.is_mapped() { 20 } else { 40 };
    let is_plain = u32::from(packet.upper) == ETHER_LENGTH as u32 + header;
    if transport.protocol == TCP && is_plain {
        reset(skb, packet, transport, header)?;
    } else {
        prohibit(skb, packet, header)?;
    }
    skb.send_back()
}

/// Whether a packet may be answered at all (S59; RFC 1122, 3.2.2; RFC 4443, 2.4 (e)): it is whole, its
/// source is the pod's own, it goes to one machine, and it is no answer or error itself.
#[inline(always)]
fn may_be_answered(skb: Skb, endpoint: &Endpoint, packet: &Packet, transport: &Transport) -> bool {
    let is_question = match transport.protocol {
        TCP => transport.tcp_flags & RST == 0,
        ICMP | ICMPV6 => transport.requests,
        _ => true,
    };
    // The lowest bit of the first byte marks a group of link-layer addresses.
    let to_one = skb.load::<[u8; 1]>(0).is_some_and(|[first]| first & 1 == 0);
    is_question
        && to_one
        && packet.fragment == Fragment::WHOLE
        && !packet.destination.is_group()
        && endpoint::owns(endpoint, packet.source)
}

/// Turns a TCP segment into the reset that answers it (RFC 9293, 3.10.7.1).
#[inline(always)]
fn reset(skb: Skb, packet: &Packet, transport: &Transport, header: u32) -> Option<()> {
    let at = ETHER_LENGTH as u32 + header;
    let [words]: [u8; 1] = skb.load(usize::from(packet.upper) + 12)?;
    let data = packet.end - u32::from(packet.upper) - u32::from(words >> 4) * 4;
    let length = data + u32::from(transport.opens) + u32::from(transport.closes);
    let (sequence, acknowledged, flags) = if transport.acknowledges {
        (transport.acknowledged, 0, RST)
    } else {
        (0, transport.sequence.wrapping_add(length), RST | ACK)
    };
    let mut segment = Block::<{ TCP_LENGTH as usize }>::zeroed();
    segment.0[0..2].copy_from_slice(&transport.destination);
    segment.0[2..4].copy_from_slice(&transport.source);
    segment.0[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment.0[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    segment.0[12] = (TCP_LENGTH as u8 / 4) << 4;
    segment.0[13] = flags;
    let sum = checksum::pseudo(packet, TCP, TCP_LENGTH);
    let sum = checksum(checksum::add(sum, &segment));
    segment.0[16..18].copy_from_slice(&sum);
    skb.set_length(at + TCP_LENGTH)?;
    write_ip(skb, packet, TCP, TCP_LENGTH)?;
    skb.store(at, &segment)
}

/// Puts the packet behind the headers of an ICMP error that quotes it, as much of it as fits.
#[inline(always)]
fn prohibit(skb: Skb, packet: &Packet, header: u32) -> Option<()> {
    let ether = ETHER_LENGTH as u32;
    let (limit, protocol, [kind, code]) = if header == 20 {
        (ERROR_LENGTH, ICMP, PROHIBITED)
    } else {
        (ERROR_LENGTH6, ICMPV6, PROHIBITED6)
    };
    let most = limit - header - ICMP_LENGTH;
    let there = packet.end - ether;
    let quoted = if there < most { there } else { most };
    let length = ICMP_LENGTH + quoted;
    skb.set_length(ether + quoted)?;
    skb.insert_before_ip(header + ICMP_LENGTH)?;
    write_ip(skb, packet, protocol, length)?;
    let at = ether + header;
    let mut message = Block::<8>::zeroed();
    (message.0[0], message.0[1]) = (kind, code);
    skb.store(at, &message)?;
    let seed = if header == 20 { 0 } else { checksum::pseudo(packet, protocol, length) };
    let sum = checksum::of_rest(skb, at, length, seed)?;
    message.0[2..4].copy_from_slice(&checksum(sum));
    skb.store(at, &message)
}

/// Writes the IP header of a reply from the far end to the pod, with `length` bytes after it.
#[inline(always)]
fn write_ip(skb: Skb, packet: &Packet, protocol: u8, length: u32) -> Option<()> {
    let (source, destination) = (packet.destination, packet.source);
    let at = ETHER_LENGTH as u32;
    if source.is_mapped() {
        let mut header = Block::<20>::zeroed();
        header.0[0] = 0x45;
        header.0[2..4].copy_from_slice(&(20 + length as u16).to_be_bytes());
        // Do not fragment: then the identification is of no importance (RFC 6864, 4.1).
        header.0[6] = 0x40;
        header.0[8] = HOPS;
        header.0[9] = protocol;
        header.0[12..16].copy_from_slice(&source.bytes4());
        header.0[16..20].copy_from_slice(&destination.bytes4());
        let sum = checksum(checksum::add(0, &header));
        header.0[10..12].copy_from_slice(&sum);
        return skb.store(at, &header);
    }
    let [high, low] = (length as u16).to_be_bytes();
    skb.store(at, &Block([0x60, 0, 0, 0, high, low, protocol, HOPS]))?;
    skb.store(at + 8, &[source, destination])
}
