//! Parses the packet that an ICMP error quotes (RFC 792; RFC 4443, 3).

use policy_common::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

use super::{
    Bytes,
    headers::{AUTHENTICATION, Fragment, Upper},
};
use crate::address::Ip;

/// Bytes of an ICMP header; the quoted packet follows it.
const ICMP_LENGTH: usize = 8;

/// The bytes of a frame up to the end of its packet: what follows is padding, not quoted.
struct Unpadded<'a, B> {
    bytes: &'a B,
    end: u32,
}

impl<B: Bytes> Bytes for Unpadded<'_, B> {
    #[inline(always)]
    fn load<T>(&self, offset: usize) -> Option<T> {
        if offset + size_of::<T>() > self.end as usize {
            return None;
        }
        self.bytes.load(offset)
    }

    #[inline(always)]
    fn load_to<T>(&self, offset: usize, place: &mut T) -> Option<()> {
        if offset + size_of::<T>() > self.end as usize {
            return None;
        }
        self.bytes.load_to(offset, place)
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.end
    }

    #[inline(always)]
    fn walk4(&self, header_length: u32, protocol: u8) -> Upper {
        self.bytes.walk4(header_length, protocol)
    }

    /// The headers end before `Upper::offset`, so that a load there shows whether they are quoted.
    #[inline(always)]
    fn walk6(&self, offset: u32, protocol: u8) -> Upper {
        self.bytes.walk6(offset, protocol)
    }
}

/// The packet that an error quotes.
pub(crate) struct Quotation {
    pub(crate) source: Ip,
    pub(crate) destination: Ip,
    pub(crate) protocol: u8,
    pub(crate) source_port: [u8; 2],
    pub(crate) destination_port: [u8; 2],
    /// Offset of its IP header in the frame.
    pub(crate) start: u16,
    /// Offset of its upper-layer header.
    pub(crate) upper: u16,
}

/// Reads the IPv4 packet that the ICMP message from `offset` to `end` quotes; `None` if it is cut
/// short or is a later fragment.
#[inline(always)]
pub(crate) fn read4(
    bytes: &impl Bytes,
    (offset, end): (usize, u32),
    quotation: &mut Quotation,
) -> Option<()> {
    let bytes = &Unpadded { bytes, end };
    let start = offset + ICMP_LENGTH;
    let header: [u8; 20] = bytes.load(start)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if header[0] >> 4 != 4 || length < 20 || later_fragment {
        return None;
    }
    quotation.source = Ip::mapped([header[12], header[13], header[14], header[15]]);
    quotation.destination = Ip::mapped([header[16], header[17], header[18], header[19]]);
    quotation.protocol = header[9];
    quotation.start = start as u16;
    let mut upper = start + length;
    if quotation.protocol == AUTHENTICATION {
        let [next, words]: [u8; 2] = bytes.load(upper)?;
        quotation.protocol = next;
        upper += 8 + usize::from(words) * 4;
    }
    ports(bytes, upper, quotation)
}

/// Reads the IPv6 packet that the ICMPv6 message from `offset` to `end` quotes; `None` if it is cut
/// short or is a later fragment.
#[inline(always)]
pub(crate) fn read6(
    bytes: &impl Bytes,
    (offset, end): (usize, u32),
    quotation: &mut Quotation,
) -> Option<()> {
    let bytes = &Unpadded { bytes, end };
    let start = offset + ICMP_LENGTH;
    let first: [u8; 8] = bytes.load(start)?;
    if first[0] >> 4 != 6 {
        return None;
    }
    bytes.load_to(start + 8, &mut quotation.source)?;
    bytes.load_to(start + 24, &mut quotation.destination)?;
    let upper = bytes.walk6(start as u32 + 40, first[6]);
    if upper.hidden || upper.fragment == Fragment::LATER {
        return None;
    }
    quotation.protocol = upper.protocol;
    quotation.start = start as u16;
    ports(bytes, usize::from(upper.offset), quotation)
}

/// Reads the ports of the quoted header, of which eight bytes are there (RFC 792).
#[inline(always)]
fn ports(bytes: &impl Bytes, offset: usize, quotation: &mut Quotation) -> Option<()> {
    let header: [u8; 8] = bytes.load(offset)?;
    quotation.upper = offset as u16;
    let identifier = [header[4], header[5]];
    (quotation.source_port, quotation.destination_port) = match quotation.protocol {
        TCP | UDP | SCTP => ([header[0], header[1]], [header[2], header[3]]),
        ICMP if matches!(header[0], 0 | 8 | 13..=18) => (identifier, identifier),
        ICMPV6 if matches!(header[0], 128 | 129) => (identifier, identifier),
        _ => return None,
    };
    Some(())
}
