//! Parses the packet that an ICMP error quotes (RFC 792; RFC 4443, 3).

use policy_common::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

use super::{Bytes, headers::Fragment};
use crate::address::Ip;

/// Bytes of an ICMP header; the quoted packet follows it.
const ICMP_LENGTH: usize = 8;

/// The packet that an error quotes.
pub(crate) struct Quotation {
    pub(crate) source: Ip,
    pub(crate) destination: Ip,
    pub(crate) protocol: u8,
    pub(crate) source_port: [u8; 2],
    pub(crate) destination_port: [u8; 2],
}

/// Reads the IPv4 packet that the ICMP message at `offset` quotes; `None` if it is cut short or is a
/// later fragment.
#[inline(always)]
pub(crate) fn read4(bytes: &impl Bytes, offset: usize, quotation: &mut Quotation) -> Option<()> {
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
    ports(bytes, start + length, quotation)
}

/// Reads the IPv6 packet that the ICMPv6 message at `offset` quotes; `None` if it is cut short or is
/// a later fragment.
#[inline(always)]
pub(crate) fn read6(bytes: &impl Bytes, offset: usize, quotation: &mut Quotation) -> Option<()> {
    let start = offset + ICMP_LENGTH;
    let first: [u8; 8] = bytes.load(start)?;
    if first[0] >> 4 != 6 {
        return None;
    }
    quotation.source = bytes.load(start + 8)?;
    quotation.destination = bytes.load(start + 24)?;
    let upper = bytes.walk6(start as u32 + 40, first[6]);
    if upper.hidden || upper.fragment == Fragment::LATER {
        return None;
    }
    quotation.protocol = upper.protocol;
    ports(bytes, usize::from(upper.offset), quotation)
}

/// Reads the ports of the quoted header, of which eight bytes are there (RFC 792).
#[inline(always)]
fn ports(bytes: &impl Bytes, offset: usize, quotation: &mut Quotation) -> Option<()> {
    let header: [u8; 8] = bytes.load(offset)?;
    let identifier = [header[4], header[5]];
    (quotation.source_port, quotation.destination_port) = match quotation.protocol {
        TCP | UDP | SCTP => ([header[0], header[1]], [header[2], header[3]]),
        ICMP if matches!(header[0], 0 | 8) => (identifier, identifier),
        ICMPV6 if matches!(header[0], 128 | 129) => (identifier, identifier),
        _ => return None,
    };
    Some(())
}
