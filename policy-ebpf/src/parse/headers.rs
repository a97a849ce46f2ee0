//! Walks IPv4 options and the extension headers of IPv6, up to the upper-layer header (S34).
//!
//! Example: `hop-by-hop (0) → fragment (44), offset 0, more → UDP (17)` gives protocol 17, its
//! offset, and a first fragment. A later fragment ends the walk: it has no upper-layer header.

use super::{Bytes, ETHER_LENGTH};

/// Extension headers that are walked. RFC 8200, 4.1, names seven places for them.
const WALKED: usize = 8;

/// Bytes of IPv4 options, which may be one option each.
const OPTIONS: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
pub(super) const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// The part of a datagram that a packet is; a byte, because a comparison of enums is compiled into
/// reads that some paths leave undefined.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Fragment(u8);

impl Fragment {
    /// All of it; also an IPv6 packet with a fragment header that is not one of several (RFC 6946).
    pub(crate) const WHOLE: Self = Self(0);
    /// The first of several; it has the upper-layer header.
    pub(crate) const FIRST: Self = Self(1);
    /// Another one.
    pub(crate) const LATER: Self = Self(2);
}

/// The upper-layer header of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Upper {
    pub(crate) protocol: u8,
    /// Offset of the header in the frame.
    pub(crate) offset: u16,
    pub(crate) fragment: Fragment,
    /// It was not reached: too many headers, or one is cut short or malformed.
    pub(crate) hidden: bool,
    /// The destination in the IP header is not the last one: a source route, or a routing header with
    /// segments left.
    pub(crate) routed: bool,
    /// Identification of the IPv6 fragment header.
    pub(crate) id: u32,
}

impl Upper {
    #[inline(always)]
    fn new(protocol: u8, offset: u32) -> Self {
        let fragment = Fragment::WHOLE;
        Self { protocol, offset: offset as u16, fragment, hidden: false, routed: false, id: 0 }
    }

    /// As one word, as a subprogram returns it.
    #[inline(always)]
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.protocol)
            | u64::from(self.fragment.0) << 8
            | u64::from(self.hidden) << 10
            | u64::from(self.routed) << 11
            | u64::from(self.offset) << 16
            | u64::from(self.id) << 32
    }

    /// From one word.
    #[inline(always)]
    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            protocol: word as u8,
            offset: (word >> 16) as u16,
            fragment: Fragment((word >> 8) as u8 & 3),
            hidden: word >> 10 & 1 != 0,
            routed: word >> 11 & 1 != 0,
            id: (word >> 32) as u32,
        }
    }
}

/// Whether a protocol number is an extension header that Linux walks too (`ipv6_ext_hdr` of
/// `net/ipv6/exthdrs_core.c`). Others, such as ESP, are upper-layer protocols without ports.
#[inline(always)]
pub(crate) fn is_walked6(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Whether an IPv4 header is followed by the upper-layer header at once.
#[inline(always)]
pub(crate) fn is_plain4(header_length: u32, protocol: u8) -> bool {
    header_length == 20 && protocol != AUTHENTICATION
}

/// Walks the headers from `offset` in the frame, where the header of this protocol starts (RFC 8200,
/// 4).
#[inline(always)]
pub(crate) fn walk6(bytes: &impl Bytes, offset: u32, protocol: u8) -> Upper {
    let mut upper = Upper::new(protocol, offset);
    for _ in 0..WALKED {
        if !is_walked6(upper.protocol) {
            return upper;
        }
        let Some([next, length, high, low]) = bytes.load::<[u8; 4]>(usize::from(upper.offset))
        else {
            upper.hidden = true;
            return upper;
        };
        match upper.protocol {
            FRAGMENT => {
                let Some(id) = bytes.load::<[u8; 4]>(usize::from(upper.offset) + 4) else {
                    upper.hidden = true;
                    return upper;
                };
                upper.id = u32::from_be_bytes(id);
                upper.protocol = next;
                let place = u16::from_be_bytes([high, low]);
                if place & 0xfff8 != 0 {
                    upper.fragment = Fragment::LATER;
                    return upper;
                }
                if place & 1 != 0 {
                    upper.fragment = Fragment::FIRST;
                }
                upper.offset += 8;
                continue;
            }
            // RFC 4302, 2.2.
            AUTHENTICATION => upper.offset += 8 + u16::from(length) * 4,
            _ => upper.offset += 8 + u16::from(length) * 8,
        }
        upper.routed |= upper.protocol == ROUTING && low != 0;
        upper.protocol = next;
    }
    upper.hidden |= is_walked6(upper.protocol);
    upper
}

/// Walks the options of an IPv4 header (RFC 791, 3.1), and an authentication header after it.
#[inline(always)]
pub(crate) fn walk4(bytes: &impl Bytes, header_length: u32, protocol: u8) -> Upper {
    let end = ETHER_LENGTH as u32 + header_length;
    let mut upper = Upper::new(protocol, end);
    let mut at = ETHER_LENGTH as u32 + 20;
    for _ in 0..OPTIONS {
        if at >= end {
            break;
        }
        let Some([kind]) = bytes.load::<[u8; 1]>(at as usize) else {
            upper.hidden = true;
            return upper;
        };
        if kind == END_OF_OPTIONS {
            break;
        }
        if kind == NO_OPERATION {
            at += 1;
            continue;
        }
        let length = bytes.load::<[u8; 1]>(at as usize + 1).map_or(0, |[length]| u32::from(length));
        upper.routed |= matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
        at += length;
        if length < 2 || at > end {
            upper.hidden = true;
            return upper;
        }
    }
    if protocol != AUTHENTICATION {
        return upper;
    }
    match bytes.load::<[u8; 2]>(end as usize) {
        Some([next, length]) if next != AUTHENTICATION => {
            upper.protocol = next;
            upper.offset += 8 + u16::from(length) * 4;
        }
        _ => upper.hidden = true,
    }
    upper
}
