//! Internet checksums (RFC 1071) of what is written into a packet, and of the rest of a packet.
//!
//! A sum has the byte order of memory, as `bpf_csum_diff` computes it; [`checksum`] gives the two bytes
//! of a header.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::helpers::bpf_csum_diff;

use crate::{
    element::zero_words,
    parse::{Bytes as _, ip::Packet},
    skb::Skb,
};

/// Bytes of a block of [`of_rest`]. An error of IPv6 is 31 whole blocks at most, one of IPv4 fourteen.
const BLOCK: u32 = 40;

/// The blocks of the longest error.
const BLOCKS: u32 = 31;

/// Bytes that are aligned as the checksum needs it.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(super) struct Block<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Block<N> {
    /// Zeros, a whole number of words, written without `memset`.
    #[inline(always)]
    pub(super) fn zeroed() -> Self {
        let mut block = MaybeUninit::uninit();
        zero_words(&mut block);
        // SAFETY: all of its words were written.
        unsafe { block.assume_init() }
    }
}

/// Adds a value to a sum; the value has a multiple of four bytes.
#[inline(always)]
pub(super) fn add<T>(sum: u32, value: &T) -> u32 {
    let value = ptr::from_ref(value).cast_mut().cast();
    // SAFETY: the helper reads the bytes of a value without padding, and nothing at the null pointer.
    let sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, value, size_of::<T>() as u32, sum) };
    // The kernel's sums are words; an error, which is negative, has another cause than a packet.
    sum.cast_unsigned() as u32
}

/// The sum of the pseudo header of a reply with `length` bytes after its IP header (RFC 9293, 3.1; RFC
/// 8200, 8.1).
///
/// An IPv4 address is summed in the form of the maps: `ffff` before it changes nothing.
#[inline(always)]
pub(super) fn pseudo(packet: &Packet, protocol: u8, length: u32) -> u32 {
    let seed = (u16::from(protocol) + length as u16).to_be();
    add(u32::from(seed), &[packet.source, packet.destination])
}

/// Adds `length` bytes of a packet from an offset to a sum. The packet ends there; zeros are put behind
/// it while the sum is computed.
#[inline(always)]
pub(super) fn of_rest(skb: Skb, offset: u32, length: u32, sum: u32) -> Option<u32> {
    let end = offset + length.div_ceil(BLOCK) * BLOCK;
    skb.set_length(end)?;
    let mut sum = sum;
    for number in 0..BLOCKS {
        let at = offset + number * BLOCK;
        if at >= end {
            break;
        }
        sum = add(sum, &skb.load::<Block<{ BLOCK as usize }>>(at as usize)?);
    }
    skb.set_length(offset + length)?;
    Some(sum)
}

/// The checksum of a sum.
#[inline(always)]
pub(super) fn checksum(sum: u32) -> [u8; 2] {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!(folded as u16)).to_ne_bytes()
}
