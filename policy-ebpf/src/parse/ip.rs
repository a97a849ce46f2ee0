//! Parses the IP headers, options and extension headers included.

use policy_common::drops::Reason;

use super::{
    Bytes, ETHER_LENGTH,
    headers::{Fragment, Upper, is_plain4, is_walked6},
    transport::{self, Transport},
};
use crate::address::Ip;

/// A parsed packet.
#[repr(C)]
pub(crate) struct Packet {
    pub(crate) source: Ip,
    pub(crate) destination: Ip,
    pub(crate) transport: Transport,
    /// What all fragments of a datagram have in common beside the addresses: the identification, and
    /// for IPv4 the protocol in the upper half (RFC 791, 3.2; RFC 8200, 4.5).
    pub(crate) id: u32,
    /// Offset of the byte after the packet, as far as its header states it. The frame may be longer
    /// (padding).
    pub(crate) end: u32,
    /// Offset of the upper-layer header.
    pub(crate) upper: u16,
    /// Number of the `Reason` for which the transport header was not parsed; 0 where it was.
    pub(crate) problem: u8,
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// The protocol number after all IP headers.
    pub(crate) protocol: u8,
    pub(crate) fragment: Fragment,
    /// The upper-layer header was not found.
    pub(crate) hidden: bool,
    /// The destination in the IP header is not the last one.
    pub(crate) routed: bool,
    /// Whether the addresses could be parsed.
    pub(crate) has_addresses: bool,
}

impl Packet {
    /// The transport header, or the reason for which it was not parsed: `Fragment` for a later
    /// fragment.
    #[inline(always)]
    pub(crate) fn transport(&self) -> Result<&Transport, Reason> {
        Reason::from_number(self.problem).map_or(Ok(&self.transport), Err)
    }

    /// Notes whether the addresses could be parsed; where not, the transport header was not either.
    #[inline(always)]
    pub(crate) fn set_read(&mut self, result: Result<(), Reason>) {
        self.has_addresses = result.is_ok();
        if let Err(reason) = result {
            self.problem = reason as u8;
        }
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

    /// `length` bytes follow an IP header of `header` bytes.
    #[inline(always)]
    fn set_end(&mut self, header: u32, length: Result<u32, Reason>) {
        self.end = ETHER_LENGTH as u32 + header + length.unwrap_or(0);
    }

    #[inline(always)]
    fn set_upper(&mut self, upper: &Upper) {
        self.protocol = upper.protocol;
        self.upper = upper.offset;
        self.hidden = upper.hidden;
        self.routed = upper.routed;
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
    packet.hidden = false;
    packet.routed = false;
    packet.id = u32::from_be_bytes([0, header[9], header[4], header[5]]);
    let place = u16::from_be_bytes([header[6], header[7]]);
    packet.fragment = match place & 0x3fff {
        0 => Fragment::WHOLE,
        0x2000 => Fragment::FIRST,
        _ => Fragment::LATER,
    };
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    let header_length = u32::from(header[0] & 0x0f) * 4;
    packet.upper = ETHER_LENGTH as u16 + header_length as u16;
    let length = payload(bytes, total, header_length);
    packet.set_end(header_length, length);
    let transport = match length {
        Err(reason) => Err(reason),
        Ok(_) if packet.fragment == Fragment::LATER => Err(Reason::Fragment),
        Ok(length) if is_plain4(header_length, header[9]) => {
            transport::read(bytes, ETHER_LENGTH + 20, header[9], length)
        }
        Ok(length) => {
            let upper = bytes.walk4(header_length, header[9]);
            packet.set_upper(&upper);
            // The header states where the options end, whatever they are.
            packet.hidden = false;
            upper_layer(bytes, &upper, header_length, length, Reason::IpOptions)
        }
    };
    packet.set_transport(transport);
    Ok(())
}

/// Parses an IPv6 packet (RFC 8200); an error where not even the addresses can be parsed.
#[inline(always)]
pub(crate) fn read6(bytes: &impl Bytes, packet: &mut Packet) -> Result<(), Reason> {
    let first: [u8; 8] = bytes.load(ETHER_LENGTH).ok_or(Reason::Malformed)?;
    bytes.load_to(ETHER_LENGTH + 8, &mut packet.source).ok_or(Reason::Malformed)?;
    bytes.load_to(ETHER_LENGTH + 24, &mut packet.destination).ok_or(Reason::Malformed)?;
    if first[0] >> 4 != 6 || packet.source.is_mapped() || packet.destination.is_mapped() {
        return Err(Reason::Malformed);
    }
    packet.hops = first[7];
    packet.protocol = first[6];
    packet.upper = (ETHER_LENGTH + 40) as u16;
    packet.hidden = false;
    packet.routed = false;
    packet.fragment = Fragment::WHOLE;
    let stated = u32::from(u16::from_be_bytes([first[4], first[5]]));
    let total = if stated == 0 { 0 } else { stated + 40 };
    let length = payload(bytes, total, 40);
    packet.set_end(40, length);
    let transport = if is_walked6(first[6]) {
        let upper = bytes.walk6((ETHER_LENGTH + 40) as u32, first[6]);
        packet.set_upper(&upper);
        (packet.fragment, packet.id) = (upper.fragment, upper.id);
        match length {
            Err(reason) => Err(reason),
            Ok(_) if upper.fragment == Fragment::LATER => Err(Reason::Fragment),
            Ok(length) => upper_layer(bytes, &upper, 40, length, Reason::ExtensionHeader),
        }
    } else {
        match length {
            Err(reason) => Err(reason),
            Ok(length) => transport::read(bytes, ETHER_LENGTH + 40, first[6], length),
        }
    };
    packet.set_transport(transport);
    Ok(())
}

/// Parses the upper-layer header that a walk found; `length` bytes follow the IP header.
#[inline(always)]
fn upper_layer(
    bytes: &impl Bytes,
    upper: &Upper,
    header_length: u32,
    length: u32,
    unwalked: Reason,
) -> Result<Transport, Reason> {
    // Rules are about the last destination, which a source route hides (RFC 5095; RFC 7126, 4.3).
    if upper.hidden || upper.routed {
        return Err(unwalked);
    }
    let walked = u32::from(upper.offset).wrapping_sub(ETHER_LENGTH as u32 + header_length);
    if walked > length {
        return Err(Reason::Malformed);
    }
    transport::read(bytes, usize::from(upper.offset), upper.protocol, length - walked)
}

/// Bytes after an IP header of `header` bytes, by the total length that it states.
///
/// A total of zero is legal for a packet above 64 KiB that the kernel has not yet segmented (BIG
/// TCP); in IPv6 it has a hop-by-hop header with the jumbo payload option (RFC 2675), which is
/// walked as any other.
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
