//! Reads a frame as its standards say: RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 9260, RFC 792,
//! RFC 4443. Input is bytes; output is a [`Frame`] of owned values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// A frame, as far as it can be read.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// ARP, with its body.
    Arp(Vec<u8>),
    /// A VLAN tag in front of something.
    Tagged,
    /// Another EtherType.
    Other,
    /// IP, but not even the addresses can be read.
    NoAddresses,
    /// IP.
    Ip(Packet),
}

/// An IP packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// The destination is not the last one: a source route of IPv4, or a routing header of IPv6 with
    /// segments left.
    pub(crate) is_routed: bool,
    pub(crate) fragment: Option<Fragment>,
    /// The upper layer; `None` where the headers before it cannot be read.
    pub(crate) upper: Option<Upper>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) identification: u32,
    /// Of the IPv4 header, which is part of the key of a datagram; 0 in IPv6 (RFC 8200, 4.5).
    pub(crate) protocol: u8,
    pub(crate) is_first: bool,
}

/// What follows the IP headers.
#[derive(Clone, Debug)]
pub(crate) struct Upper {
    pub(crate) protocol: u8,
    /// As many bytes as the IP header states.
    pub(crate) bytes: Vec<u8>,
}

/// The part of a transport header that verdicts depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    pub(crate) protocol: u8,
    /// ICMP echo has its identifier in both ports, a protocol without ports zeros.
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) kind: Kind,
}

/// What a packet does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TCP SYN without ACK, SCTP INIT.
    Opens,
    /// TCP or SCTP in the middle.
    UnderWay {
        fin: bool,
        reset: bool,
    },
    /// ICMP echo and its like.
    Request,
    Reply,
    /// An ICMP error, which quotes a packet.
    Error,
    /// ICMP without an identifier.
    Notice,
    /// UDP and every other protocol.
    Datagram,
}

/// What an ICMP error quotes.
pub(crate) struct Quotation {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) transport: Transport,
}

/// Reads a frame.
pub(crate) fn read(frame: &[u8]) -> Frame {
    let Some(ether_type) = number(frame, 12) else { return Frame::Other };
    let body = frame.get(14..).unwrap_or_default();
    match ether_type {
        0x0800 => read4(body, Part::Whole).map_or(Frame::NoAddresses, Frame::Ip),
        0x86dd => read6(body, Part::Whole).map_or(Frame::NoAddresses, Frame::Ip),
        0x0806 => Frame::Arp(body.to_vec()),
        0x8100 | 0x88a8 => Frame::Tagged,
        _ => Frame::Other,
    }
}

/// How much of a packet must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// As many bytes as its header states.
    Whole,
    /// Whatever an ICMP error quotes, whatever the header states.
    Start,
}

/// Reads an IPv4 packet.
fn read4(body: &[u8], part: Part) -> Option<Packet> {
    let header = body.get(..20)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < 20 {
        return None;
    }
    let stated = usize::from(number(header, 2)?);
    let total = if part == Part::Whole { stated } else { body.len() };
    let flags = number(header, 6)?;
    let (offset, more) = (flags & 0x1fff, flags & 0x2000 != 0);
    let bytes = body.get(..total).and_then(|packet| packet.get(length..));
    let is_first = offset == 0;
    let options = options(body.get(20..length.min(total)).unwrap_or_default());
    let upper = bytes.filter(|_| !is_first || options.is_some()).and_then(|bytes| {
        let upper = Upper { protocol: header[9], bytes: bytes.to_vec() };
        if is_first { behind_authentication(upper) } else { Some(upper) }
    });
    Some(Packet {
        source: address4(&header[12..16]),
        destination: address4(&header[16..20]),
        hops: header[8],
        is_routed: options == Some(true),
        fragment: (offset != 0 || more).then(|| Fragment {
            identification: u32::from(number(header, 4).unwrap_or_default()),
            protocol: header[9],
            is_first,
        }),
        upper,
    })
}

/// Whether the options of an IPv4 header contain a source route (RFC 791, 3.1); `None` where they
/// are malformed.
fn options(mut bytes: &[u8]) -> Option<bool> {
    let mut is_routed = false;
    while let Some((&kind, rest)) = bytes.split_first() {
        match kind {
            0 => break,
            1 => bytes = rest,
            _ => {
                let length = usize::from(*rest.first()?);
                if length < 2 {
                    return None;
                }
                is_routed |= matches!(kind, 131 | 137);
                bytes = bytes.get(length..)?;
            }
        }
    }
    Some(is_routed)
}

/// The upper layer behind an authentication header of IPv4 (RFC 4302), of which there is at most one.
fn behind_authentication(upper: Upper) -> Option<Upper> {
    if upper.protocol != 51 {
        return Some(upper);
    }
    let (protocol, words) = (*upper.bytes.first()?, usize::from(*upper.bytes.get(1)?));
    let bytes = upper.bytes.get((words + 2) * 4..)?.to_vec();
    (protocol != 51).then_some(Upper { protocol, bytes })
}

/// Reads an IPv6 packet.
fn read6(body: &[u8], part: Part) -> Option<Packet> {
    let header = body.get(..40)?;
    let (source, destination) = (address6(&header[8..24]), address6(&header[24..40]));
    // Such an address on the wire could be mistaken for one of the other family.
    let mapped = |address| matches!(address, IpAddr::V6(one) if one.to_ipv4_mapped().is_some());
    if header[0] >> 4 != 6 || mapped(source) || mapped(destination) {
        return None;
    }
    let stated = usize::from(number(header, 4)?) + 40;
    let total = if part == Part::Whole { stated } else { body.len() };
    let mut packet = Packet {
        source,
        destination,
        hops: header[7],
        is_routed: false,
        fragment: None,
        upper: None,
    };
    // A length of zero stands for a jumbogram, which no frame of this length is.
    let Some(bytes) = body.get(40..total).filter(|bytes| !bytes.is_empty()) else {
        return Some(packet);
    };
    packet.upper = walk(header[6], bytes, &mut packet.is_routed, &mut packet.fragment);
    Some(packet)
}

/// Follows the extension headers (RFC 8200, 4) to the upper layer.
fn walk(
    mut next: u8,
    mut bytes: &[u8],
    is_routed: &mut bool,
    fragment: &mut Option<Fragment>,
) -> Option<Upper> {
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let (following, length) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        let length = match next {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        if next == 44 {
            let offset = number(bytes, 2)? & 0xfff8;
            let more = number(bytes, 2)? & 1 != 0;
            let identification = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
            if offset != 0 || more {
                *fragment = Some(Fragment { identification, protocol: 0, is_first: offset == 0 });
            }
            if offset != 0 {
                return Some(Upper { protocol: following, bytes: bytes.get(8..)?.to_vec() });
            }
        }
        *is_routed |= next == 43 && *bytes.get(3)? != 0;
        next = following;
        bytes = bytes.get(length..)?;
    }
    Some(Upper { protocol: next, bytes: bytes.to_vec() })
}

/// Reads a transport header; `None` where it is cut short or contradicts itself.
pub(crate) fn transport(upper: &Upper) -> Option<Transport> {
    let bytes = &upper.bytes;
    let ports = |kind| {
        Some(Transport {
            protocol: upper.protocol,
            source_port: number(bytes, 0)?,
            destination_port: number(bytes, 2)?,
            kind,
        })
    };
    match upper.protocol {
        TCP => {
            let (length, flags) = (usize::from(*bytes.get(12)? >> 4) * 4, *bytes.get(13)?);
            if length < 20 || length > bytes.len() {
                return None;
            }
            let (fin, opens, reset) = (flags & 1 != 0, flags & 0x12 == 2, flags & 4 != 0);
            ports(if opens { Kind::Opens } else { Kind::UnderWay { fin, reset } })
        }
        UDP => bytes.get(7).and_then(|_| ports(Kind::Datagram)),
        SCTP => match *bytes.get(..16)?.get(12)? {
            1 => ports(Kind::Opens),
            _ => ports(Kind::UnderWay { fin: false, reset: false }),
        },
        ICMP | ICMPV6 => icmp(upper.protocol, bytes),
        protocol => {
            let (port, kind) = (0, Kind::Datagram);
            Some(Transport { protocol, source_port: port, destination_port: port, kind })
        }
    }
}

fn icmp(protocol: u8, bytes: &[u8]) -> Option<Transport> {
    let message = bytes.get(..8)?;
    let kind = match (protocol, message[0]) {
        (ICMP, 8 | 13 | 15 | 17) | (ICMPV6, 128) => Kind::Request,
        (ICMP, 0 | 14 | 16 | 18) | (ICMPV6, 129) => Kind::Reply,
        (ICMP, 3 | 11 | 12) | (ICMPV6, 1..=4) => Kind::Error,
        _ => Kind::Notice,
    };
    let has_identifier = matches!(kind, Kind::Request | Kind::Reply);
    let port = if has_identifier { number(message, 4)? } else { 0 };
    Some(Transport { protocol, source_port: port, destination_port: port, kind })
}

/// The packet that an ICMP error quotes: its addresses and ports. Of the quoted packet only the
/// start needs to be there (RFC 792; RFC 4443, 2.4).
pub(crate) fn quoted(upper: &Upper) -> Option<Quotation> {
    let body = upper.bytes.get(8..)?;
    let read = if upper.protocol == ICMP { read4 } else { read6 };
    let packet = read(body, Part::Start)?;
    if packet.fragment.is_some_and(|fragment| !fragment.is_first) {
        return None;
    }
    let inner = packet.upper?;
    let bytes = inner.bytes.get(..8)?;
    let (source_port, destination_port) = match inner.protocol {
        TCP | UDP | SCTP => (number(bytes, 0)?, number(bytes, 2)?),
        ICMP | ICMPV6 => {
            let echo = icmp(inner.protocol, bytes)?;
            matches!(echo.kind, Kind::Request | Kind::Reply).then_some(())?;
            (echo.source_port, echo.destination_port)
        }
        _ => return None,
    };
    let (protocol, kind) = (inner.protocol, Kind::Datagram);
    let transport = Transport { protocol, source_port, destination_port, kind };
    let Packet { source, destination, .. } = packet;
    Some(Quotation { source, destination, transport })
}

/// Two bytes in network byte order.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn address4(bytes: &[u8]) -> IpAddr {
    let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
    IpAddr::V4(Ipv4Addr::from(bytes))
}

/// An IPv6 address in network byte order.
pub(crate) fn address6(bytes: &[u8]) -> IpAddr {
    let bytes: [u8; 16] = bytes.try_into().unwrap_or_default();
    IpAddr::V6(Ipv6Addr::from(bytes))
}
