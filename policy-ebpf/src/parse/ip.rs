//! Parses the IP headers, extension headers of IPv6 included.

use policy_common::{drops::Reason, protocol::ICMPV6};

use super::{
    Bytes, ETHER_LENGTH,
    transport::{self, Transport},
};
use crate::address::Ip;

/// A parsed packet.
#[repr(C)]
pub(crate) struct Packet {
    pub(crate) source: Ip,
    pub(crate) destination: Ip,
    pub(crate) transport: Transport,
    /// Number of the `Reason` for which the transport header was not parsed; 0 where it was.
    pub(crate) problem: u8,
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// The protocol number after all IP headers.
    pub(crate) protocol: u8,
    /// More extension headers than are walked: the upper-layer header was not found.
    pub(crate) hidden: bool,
    /// Offset of the ICMPv6 header, also after extension headers; 0 where there is none.
    pub(crate) icmpv6: u16,
    /// Whether the addresses could be parsed.
    pub(crate) has_addresses: bool,
}

impl Packet {
    /// The transport header, or the reason for which it was not parsed.
    #[inline(always)]
    pub(crate) fn transport(&self) -> Result<&Transport, Reason> {
        Reason::from_number(self.problem).map_or(Ok(&self.transport), Err)
    }

    #[inline(always)]
    fn set_transport(&mut self, transport: Result<Transport, Reason>) {
        match transport {
            Ok(transport) => {
                self.transport = transport;
                self.problem = 0;
            }
            Err(reason) => self.problem = reason as u8,
        }
    }
}

/// Parses an IPv4 packet (RFC 791); an error where not even the addresses can be parsed.
#[inline(always)]
pub(crate) fn read4(bytes: &impl Bytes, packet: &mut Packet) -> Result<(), Reason> {
    let header: [u8; 20] = bytes.load(ETHER_LENGTH).ok_or(Reason::Malformed)?;
    if header[0] >> 4 != 4 || header[0] & 0x0f < 5 {
        return Err(Reason::Malformed);
    }
    packet.source = Ip::mapped([header[12], header[13], header[14], header[15]]);
    packet.destination = Ip::mapped([header[16], header[17], header[18], header[19]]);
    packet.hops = header[8];
    packet.protocol = header[9];
    packet.icmpv6 = 0;
    packet.hidden = false;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    packet.set_transport(if header[0] & 0x0f != 5 {
        Err(Reason::IpOptions)
    } else if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        Err(Reason::Fragment)
    } else {
        match payload(bytes, total, 20) {
            Ok(length) => transport::read(bytes, ETHER_LENGTH + 20, header[9], length),
            Err(reason) => Err(reason),
        }
    });
    Ok(())
}

/// Parses an IPv6 packet (RFC 8200); an error where not even the addresses can be parsed.
#[inline(always)]
pub(crate) fn read6(bytes: &impl Bytes, packet: &mut Packet) -> Result<(), Reason> {
    let first: [u8; 8] = bytes.load(ETHER_LENGTH).ok_or(Reason::Malformed)?;
    packet.source = bytes.load(ETHER_LENGTH + 8).ok_or(Reason::Malformed)?;
    packet.destination = bytes.load(ETHER_LENGTH + 24).ok_or(Reason::Malformed)?;
    if first[0] >> 4 != 6 || packet.source.is_mapped() || packet.destination.is_mapped() {
        return Err(Reason::Malformed);
    }
    packet.hops = first[7];
    let upper = upper6(bytes, first[6]);
    packet.protocol = upper.protocol;
    packet.hidden = upper.offset == 0 && !upper.later_fragment;
    packet.icmpv6 = if upper.protocol == ICMPV6 { upper.offset } else { 0 };
    let stated = u32::from(u16::from_be_bytes([first[4], first[5]]));
    let total = if stated == 0 { 0 } else { stated + 40 };
    packet.set_transport(match payload(bytes, total, 40) {
        Err(reason) => Err(reason),
        Ok(_) if upper.fragment => Err(Reason::Fragment),
        Ok(_) if is_extension(first[6]) => Err(Reason::ExtensionHeader),
        Ok(length) => transport::read(bytes, ETHER_LENGTH + 40, first[6], length),
    });
    Ok(())
}

/// The upper-layer header of an IPv6 packet, after the extension headers.
struct Upper {
    protocol: u8,
    /// Offset of the header; 0 where this packet does not have it, or it was not found.
    offset: u16,
    fragment: bool,
    later_fragment: bool,
}

/// Extension headers that are walked; a packet with more is `hidden`.
const WALKED: usize = 4;

/// Whether a protocol number is an extension header (RFC 7045, 1.1).
#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140 | 253 | 254)
}

/// Walks the extension headers that Linux also walks (RFC 8200, 4).
///
/// Example: `hop-by-hop (0) → fragment (44), offset 0 → UDP (17)` gives protocol 17, its offset,
/// and `fragment`; a later fragment ends the walk, because it has no upper-layer header.
#[inline(always)]
fn upper6(bytes: &impl Bytes, first: u8) -> Upper {
    let mut upper = Upper { protocol: first, offset: 0, fragment: false, later_fragment: false };
    let mut offset = (ETHER_LENGTH + 40) as u16;
    for _ in 0..WALKED {
        if !matches!(upper.protocol, 0 | 43 | 44 | 51 | 60) {
            upper.offset = offset;
            return upper;
        }
        let Some([next, length, high, low]) = bytes.load::<[u8; 4]>(usize::from(offset)) else {
            return upper;
        };
        offset += match upper.protocol {
            44 => 8,
            51 => 8 + u16::from(length) * 4,
            _ => 8 + u16::from(length) * 8,
        };
        if upper.protocol == 44 {
            upper.fragment = true;
            upper.later_fragment = u16::from_be_bytes([high, low]) & 0xfff8 != 0;
        }
        upper.protocol = next;
        if upper.later_fragment {
            return upper;
        }
    }
    if !matches!(upper.protocol, 0 | 43 | 44 | 51 | 60) {
        upper.offset = offset;
    }
    upper
}

/// Bytes after an IP header of `header` bytes, by the total length that it states.
///
/// A total of zero is legal for a packet above 64 KiB that the kernel has not yet segmented (BIG
/// TCP).
#[inline(always)]
fn payload(bytes: &impl Bytes, total: u32, header: u32) -> Result<u32, Reason> {
    let frame = bytes.length();
    let there = frame.wrapping_sub(ETHER_LENGTH as u32);
    let total = if total == 0 && frame > 0xffff { there } else { total };
    if total < header || total > there {
        return Err(Reason::Malformed);
    }
    Ok(total - header)
}
