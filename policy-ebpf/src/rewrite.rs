//! Writes another far end into a packet: address, port and their checksums.
//!
//! `decide::translate` calls it for connections to Services of which the pod may reach some backends.
//! Like the kernel's own address translation (`net/netfilter/nf_nat_proto.c`) it changes a checksum by
//! the difference, and leaves a UDP checksum of zero alone (RFC 768).

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{
        bpf_csum_diff, bpf_csum_update, bpf_l3_csum_replace, bpf_l4_csum_replace,
        bpf_skb_store_bytes,
    },
};
use policy_common::protocol::{SCTP, TCP, UDP};

use crate::{address::Ip, parse::ETHER_LENGTH};

/// Offsets in the IP headers (RFC 791, RFC 8200).
const CHECKSUM4: u32 = ETHER_LENGTH as u32 + 10;
const SOURCE4: u32 = ETHER_LENGTH as u32 + 12;
const SOURCE6: u32 = ETHER_LENGTH as u32 + 8;

/// Which end of a packet is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// An address and a port.
#[derive(Clone, Copy)]
pub(crate) struct AddressPort {
    pub(crate) address: Ip,
    /// Network byte order.
    pub(crate) port: [u8; 2],
}

/// Whether packets of a protocol can get another far end: the checksum of SCTP covers the whole packet,
/// so that its ports stay as they are (RFC 9260, 6.8).
#[inline(always)]
pub(crate) fn can_change(protocol: u8, old_port: [u8; 2], new_port: [u8; 2]) -> bool {
    match protocol {
        TCP | UDP => true,
        SCTP => old_port == new_port,
        _ => false,
    }
}

/// Writes an end of the packet with a transport header at `upper`; `false` where the kernel refuses, and
/// the packet may be half written.
#[inline(always)]
pub(crate) fn write(
    skb: *mut __sk_buff,
    end: End,
    (protocol, upper): (u8, u32),
    old: &AddressPort,
    new: &AddressPort,
) -> bool {
    let (checksum, flags) = match protocol {
        TCP => (Some(upper + 16), 0),
        UDP => (Some(upper + 6), u64::from(BPF_F_MARK_MANGLED_0)),
        _ => (None, 0),
    };
    write_address(skb, end, checksum, flags, old.address, new.address)
        && write_port(skb, end, (checksum, flags), upper, old.port, new.port)
}

/// Writes an end of the packet that an ICMP error quotes, with its IP header at `start` and its transport
/// header at `upper`. The checksum of the quoted transport header stays: nobody checks it, because it
/// covers more than is quoted.
#[inline(always)]
pub(crate) fn write_quoted(
    skb: *mut __sk_buff,
    end: End,
    icmp: u32,
    (start, upper): (u32, u32),
    old: &AddressPort,
    new: &AddressPort,
) -> bool {
    let checksum = icmp + 2;
    let is_source = end == End::Source;
    let is_written = if new.address.is_mapped() {
        // The quoted header has a checksum of its own, so that the ICMP checksum stays.
        let at = if is_source { start + 12 } else { start + 16 };
        let from = u32::from_ne_bytes(old.address.bytes4());
        let to = u32::from_ne_bytes(new.address.bytes4());
        // SAFETY: the kernel passes a valid context to the program, and checks the offset.
        let header = unsafe { bpf_l3_csum_replace(skb, start + 10, from.into(), to.into(), 4) };
        header == 0 && store(skb, at, &to)
    } else {
        let at = if is_source { start + 8 } else { start + 24 };
        let difference = difference6(old.address, new.address);
        // SAFETY: as above.
        let changed = unsafe { bpf_l4_csum_replace(skb, checksum, 0, difference, 0) };
        changed == 0 && store(skb, at, &[new.address.high, new.address.low])
    };
    is_written && write_port(skb, end, (Some(checksum), 0), upper, old.port, new.port)
}

/// Writes an address of an ICMP error itself.
#[inline(always)]
pub(crate) fn write_address_of_error(
    skb: *mut __sk_buff,
    end: End,
    icmp: u32,
    old: &AddressPort,
    new: &AddressPort,
) -> bool {
    // Only the checksum of ICMPv6 covers addresses (RFC 4443, 2.3).
    let checksum = if new.address.is_mapped() { None } else { Some(icmp + 2) };
    write_address(skb, end, checksum, 0, old.address, new.address)
}

#[inline(always)]
fn write_address(
    skb: *mut __sk_buff,
    end: End,
    checksum: Option<u32>,
    flags: u64,
    old: Ip,
    new: Ip,
) -> bool {
    let pseudo = u64::from(BPF_F_PSEUDO_HDR) | flags;
    if new.is_mapped() {
        let at = if end == End::Source { SOURCE4 } else { SOURCE4 + 4 };
        let (old, new) = (u32::from_ne_bytes(old.bytes4()), u32::from_ne_bytes(new.bytes4()));
        // SAFETY: the kernel passes a valid context to the program, and checks the offset.
        let header = unsafe { bpf_l3_csum_replace(skb, CHECKSUM4, old.into(), new.into(), 4) };
        let transport = checksum.map_or(0, |at| {
            // SAFETY: as above.
            unsafe { bpf_l4_csum_replace(skb, at, old.into(), new.into(), pseudo | 4) }
        });
        header == 0 && transport == 0 && store(skb, at, &new)
    } else {
        let at = if end == End::Source { SOURCE6 } else { SOURCE6 + 16 };
        let difference = difference6(old, new);
        let transport = checksum.map_or(0, |at| {
            // SAFETY: as above.
            unsafe { bpf_l4_csum_replace(skb, at, 0, difference, pseudo) }
        });
        // Puts the difference back into the sum that a network card made of the whole packet: the kernel
        // took it out with the transport checksum, as if the IP header had a checksum of its own
        // (`inet_proto_csum_replace_by_diff`, net/core/utils.c).
        // SAFETY: the kernel passes a valid context to the program.
        unsafe { bpf_csum_update(skb, difference as u32) };
        transport == 0 && store(skb, at, &[new.high, new.low])
    }
}

/// The difference of two IPv6 addresses in a checksum.
#[inline(always)]
fn difference6(old: Ip, new: Ip) -> u64 {
    let (mut from, mut to) = ([old.high, old.low], [new.high, new.low]);
    let (from, to) = (from.as_mut_ptr().cast(), to.as_mut_ptr().cast());
    // SAFETY: both are two words of eight bytes.
    unsafe { bpf_csum_diff(from, 16, to, 16, 0) }.cast_unsigned()
}

#[inline(always)]
fn write_port(
    skb: *mut __sk_buff,
    end: End,
    (checksum, flags): (Option<u32>, u64),
    upper: u32,
    old: [u8; 2],
    new: [u8; 2],
) -> bool {
    if old == new {
        return true;
    }
    let at = if end == End::Source { upper } else { upper + 2 };
    let (from, to) = (u16::from_ne_bytes(old), u16::from_ne_bytes(new));
    let changed = checksum.map_or(0, |at| {
        // SAFETY: the kernel passes a valid context to the program, and checks the offset.
        unsafe { bpf_l4_csum_replace(skb, at, from.into(), to.into(), flags | 2) }
    });
    changed == 0 && store(skb, at, &to)
}

#[inline(always)]
fn store<T>(skb: *mut __sk_buff, at: u32, value: &T) -> bool {
    let value = core::ptr::from_ref(value);
    // SAFETY: the kernel passes a valid context to the program, and checks the offset; the value is on
    // the stack and initialised.
    unsafe { bpf_skb_store_bytes(skb, at, value.cast(), size_of::<T>() as u32, 0) == 0 }
}
