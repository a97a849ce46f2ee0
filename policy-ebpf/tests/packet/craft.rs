//! Frames, as the wire has them.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader, UdpHeader};
use policy_common::protocol::{ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, ICMP, ICMPV6};
pub(crate) use policy_common::protocol::{SCTP, TCP, UDP};

/// The pod's addresses.
pub(crate) const POD: &str = "10.244.0.10";
pub(crate) const POD_V6: &str = "fd00:10:244::10";
/// A far end.
pub(crate) const PEER: &str = "10.244.1.10";
pub(crate) const PEER_V6: &str = "fd00:10:244:1::10";

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Flags of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    Syn,
    SynAck,
    Ack,
    Fin,
    Rst,
}

/// Both ends of a packet, and its ports.
#[derive(Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

/// Ends of a packet from the pod to the far end, in either family.
pub(crate) const OUT: Ends<'static> =
    Ends { source: POD, destination: PEER, source_port: 40_000, destination_port: 80 };
pub(crate) const OUT_V6: Ends<'static> = Ends { source: POD_V6, destination: PEER_V6, ..OUT };

impl Ends<'_> {
    /// The other way.
    pub(crate) fn back(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }

    /// To another port.
    pub(crate) fn at(self, destination_port: u16) -> Self {
        Self { destination_port, ..self }
    }
}

/// A frame with an IP packet of either family.
pub(crate) fn ip(
    source: &str,
    destination: &str,
    hops: u8,
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ends = (source.parse().unwrap(), destination.parse().unwrap());
    let number = IpNumber(protocol);
    match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(payload.len()).unwrap();
            let mut header =
                Ipv4Header::new(length, hops, number, source.octets(), destination.octets())
                    .unwrap();
            header.header_checksum = header.calc_header_checksum();
            frame(ETH_P_IP, &[&header.to_bytes(), payload].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: u16::try_from(payload.len()).unwrap(),
                next_header: number,
                hop_limit: hops,
                source: source.octets(),
                destination: destination.octets(),
            };
            frame(ETH_P_IPV6, &[&header.to_bytes(), payload].concat())
        }
        _ => panic!("ends of two families"),
    }
}

/// A TCP segment with sequence number 1, which acknowledges number 0.
pub(crate) fn tcp(ends: Ends<'_>, flags: Flags) -> Vec<u8> {
    tcp_at(ends, flags, 1)
}

/// A TCP segment with a sequence number.
pub(crate) fn tcp_at(ends: Ends<'_>, flags: Flags, sequence: u32) -> Vec<u8> {
    let mut header = TcpHeader::new(ends.source_port, ends.destination_port, sequence, 1024);
    header.syn = matches!(flags, Flags::Syn | Flags::SynAck);
    header.ack = flags != Flags::Syn;
    header.fin = flags == Flags::Fin;
    header.rst = flags == Flags::Rst;
    ip(ends.source, ends.destination, 64, TCP, &header.to_bytes())
}

/// A UDP datagram.
pub(crate) fn udp(ends: Ends<'_>) -> Vec<u8> {
    let header =
        UdpHeader::without_ipv4_checksum(ends.source_port, ends.destination_port, 4).unwrap();
    let payload = [&header.to_bytes()[..], b"data"].concat();
    ip(ends.source, ends.destination, 64, UDP, &payload)
}

/// An SCTP packet with one chunk of a type: 0 is DATA, 1 INIT, 2 INIT ACK, 7 SHUTDOWN, 10 COOKIE ECHO.
pub(crate) fn sctp(ends: Ends<'_>, chunk: u8) -> Vec<u8> {
    let mut payload = [0_u8; 16];
    payload[0..2].copy_from_slice(&ends.source_port.to_be_bytes());
    payload[2..4].copy_from_slice(&ends.destination_port.to_be_bytes());
    payload[12] = chunk;
    payload[15] = 4;
    ip(ends.source, ends.destination, 64, SCTP, &payload)
}

/// An ICMP or ICMPv6 message, by the family of its ends; `rest` follows the checksum.
pub(crate) fn icmp(source: &str, destination: &str, kind: u8, rest: &[u8]) -> Vec<u8> {
    let protocol = if source.contains(':') { ICMPV6 } else { ICMP };
    ip(source, destination, 64, protocol, &message(kind, rest))
}

/// A message of neighbour discovery: hop limit 255.
pub(crate) fn neighbour(source: &str, destination: &str, kind: u8, rest: &[u8]) -> Vec<u8> {
    ip(source, destination, 255, ICMPV6, &message(kind, rest))
}

fn message(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0], rest].concat()
}

/// A frame of another EtherType.
pub(crate) fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&MAC[..], &MAC[..], &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv6 extension header with room for `units` times eight bytes more than its first eight.
pub(crate) fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![0; 8 * (usize::from(units) + 1)];
    header[0] = next;
    header[1] = units;
    header
}

/// The same frame behind a VLAN tag, priority tag 0.
pub(crate) fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &ETH_P_8021Q.to_be_bytes(), &[0; 2], &frame[12..]].concat()
}

/// The same IPv4 packet with four bytes of options.
pub(crate) fn with_options(frame: &[u8]) -> Vec<u8> {
    with_these_options(frame, &[1, 1, 1, 0])
}

/// The fragments of the same packet, of either family, each with this identification: the first
/// `first` bytes after the IP header, and the rest. `first` is a multiple of eight.
pub(crate) fn fragments(frame: &[u8], id: u16, first: usize) -> [Vec<u8>; 2] {
    let part = |from: usize, to: usize, more: bool| {
        let offset = u16::try_from(from).unwrap();
        if frame[12..14] == ETH_P_IP.to_be_bytes() {
            let mut part = [&frame[..34], &frame[34 + from..34 + to]].concat();
            let length = u16::try_from(part.len() - 14).unwrap();
            part[16..18].copy_from_slice(&length.to_be_bytes());
            part[18..20].copy_from_slice(&id.to_be_bytes());
            let place = (offset / 8) | (u16::from(more) << 13);
            part[20..22].copy_from_slice(&place.to_be_bytes());
            part
        } else {
            let mut header = [frame[20], 0, 0, 0, 0, 0, 0, 0];
            header[2..4].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
            header[6..8].copy_from_slice(&id.to_be_bytes());
            let mut part = [&frame[..54], &header, &frame[54 + from..54 + to]].concat();
            let length = u16::try_from(part.len() - 54).unwrap();
            part[18..20].copy_from_slice(&length.to_be_bytes());
            part[20] = 44;
            part
        }
    };
    let payload = frame.len() - if frame[12..14] == ETH_P_IP.to_be_bytes() { 34 } else { 54 };
    [part(0, first, true), part(first, payload, false)]
}

/// The same packet of TCP or UDP, with its checksum (RFC 9293, 3.1; RFC 8200, 8.1).
pub(crate) fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let (ends, upper) =
        if frame[12..14] == ETH_P_IP.to_be_bytes() { (26..34, 34) } else { (22..54, 54) };
    let protocol = if upper == 34 { frame[23] } else { frame[20] };
    let place = match protocol {
        TCP => upper + 16,
        ICMP | ICMPV6 => upper + 2,
        _ => upper + 6,
    };
    frame[place..place + 2].fill(0);
    let length = u16::try_from(frame.len() - upper).unwrap();
    let pseudo = [&frame[ends], &length.to_be_bytes(), &[0, protocol]].concat();
    let pseudo = if protocol == ICMP { Vec::new() } else { pseudo };
    let words = pseudo.chunks(2).chain(frame[upper..].chunks(2));
    let mut sum: u32 =
        words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    frame[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A first fragment of the same packet, with all of its payload.
pub(crate) fn fragment(frame: &[u8]) -> Vec<u8> {
    let payload = frame.len() - if frame[12..14] == ETH_P_IP.to_be_bytes() { 34 } else { 54 };
    let [first, _] = fragments(frame, 1, payload);
    first
}

/// A UDP datagram with a payload of this many bytes.
pub(crate) fn long_udp(ends: Ends<'_>, bytes: usize) -> Vec<u8> {
    let header =
        UdpHeader::without_ipv4_checksum(ends.source_port, ends.destination_port, bytes).unwrap();
    let payload = [&header.to_bytes()[..], &vec![0; bytes]].concat();
    ip(ends.source, ends.destination, 64, UDP, &payload)
}

/// The same IPv6 packet behind extension headers, given as their numbers.
pub(crate) fn behind(frame: &[u8], headers: &[u8]) -> Vec<u8> {
    let mut next = frame[20];
    let mut chain = Vec::new();
    for number in headers.iter().rev() {
        chain = [extension(next, 0), chain].concat();
        next = *number;
    }
    let mut frame = [&frame[..54], &chain, &frame[54..]].concat();
    let length = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame[20] = next;
    frame
}

/// The same IPv4 packet with these options, a multiple of four bytes.
pub(crate) fn with_these_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let mut frame = [&frame[..34], options, &frame[34..]].concat();
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    let length = u16::try_from(frame.len() - 14).unwrap();
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    frame
}
