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
        let (mut from, mut to) = ([old.high, old.low], [new.high, new.low]);
        let (from, to) = (from.as_mut_ptr().cast(), to.as_mut_ptr().cast());
        // SAFETY: both are two words of eight bytes.
        let difference = unsafe { bpf_csum_diff(from, 16, to, 16, 0) };
        let transport = checksum.map_or(0, |at| {
            // SAFETY: as above.
            unsafe { bpf_l4_csum_replace(skb, at, 0, difference.cast_unsigned(), pseudo) }
        });
        // Puts the difference back into the sum that a network card made of the whole packet: the kernel
        // took it out with the transport checksum, as if the IP header had a checksum of its own
        // (`inet_proto_csum_replace_by_diff`, net/core/utils.c).
        // SAFETY: the kernel passes a valid context to the program.
        unsafe { bpf_csum_update(skb, difference as u32) };
        transport == 0 && store(skb, at, &[new.high, new.low])
    }
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
