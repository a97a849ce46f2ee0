//! Builds frames byte by byte, unusual ones too. The model reads them with code of its own.

use std::net::IpAddr;

use crate::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// TCP flags.
pub mod tcp {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

/// Both ends of a packet and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketEnds {
    /// Address of the sender.
    pub source: IpAddr,
    /// Address of the receiver.
    pub destination: IpAddr,
    /// Port of the sender; the identifier for ICMP echo.
    pub source_port: u16,
    /// Port of the receiver.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// What is unusual about an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// TTL or hop limit.
    pub hops: u8,
    /// IPv4 options, in units of four bytes.
    pub options: u8,
    /// IPv6 extension headers before the upper layer.
    pub extensions: Vec<u8>,
    /// Identification, offset in bytes, and whether more fragments follow.
    pub fragment: Option<(u32, u16, bool)>,
}

impl PacketEnds {
    /// The other way.
    #[must_use]
    pub fn back(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

impl Shape {
    /// Nothing is unusual.
    pub const PLAIN: Self = Self { hops: 64, options: 0, extensions: Vec::new(), fragment: None };
}

/// A transport header and some data. `flags` are TCP's, the chunk type of SCTP, or the ICMP type.
#[must_use]
pub fn transport(ends: &PacketEnds, flags: u8, length: usize) -> Vec<u8> {
    let (source, destination) =
        (ends.source_port.to_be_bytes(), ends.destination_port.to_be_bytes());
    let ports = [source, destination].concat();
    let data = vec![0; length];
    match ends.protocol {
        TCP => [&ports, &[0; 8][..], &[0x50, flags, 4, 0, 0, 0, 0, 0], &data].concat(),
        UDP => {
            let total = u16::try_from(8 + length).unwrap_or(u16::MAX).to_be_bytes();
            [&ports, &total[..], &[0; 2], &data].concat()
        }
        SCTP => [&ports, &[0; 8][..], &[flags, 0, 0, 4], &data].concat(),
        ICMP | ICMPV6 => [&[flags, 0, 0, 0][..], &source, &[0, 1], &data].concat(),
        _ => data,
    }
}

/// A frame with an IP packet that carries a payload, of the family of its source.
#[must_use]
pub fn ip(ends: &PacketEnds, shape: &Shape, payload: &[u8]) -> Vec<u8> {
    match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = 20 + 4 * usize::from(shape.options);
            let total = u16::try_from(length + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
            let (identification, offset, more) = shape.fragment.unwrap_or_default();
            let [_, _, id0, id1] = identification.to_be_bytes();
            let [high, low] = ((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
            let first = 0x45 + shape.options;
            let mut packet = vec![first, 0, total[0], total[1], id0, id1, high, low];
            packet.extend([shape.hops, ends.protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet.resize(length, 1);
            ether(0x0800, &[&packet, payload].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (next, headers) = extensions(ends.protocol, shape);
            let length = u16::try_from(headers.len() + payload.len()).unwrap_or(u16::MAX);
            let [high, low] = length.to_be_bytes();
            let mut packet = vec![0x60, 0, 0, 0, high, low, next, shape.hops];
            packet.extend(source.octets());
            packet.extend(destination.octets());
            ether(0x86dd, &[&packet, &headers[..], payload].concat())
        }
        _ => ether(0x0800, payload),
    }
}

/// The chain of extension headers: the number of the first, and their bytes.
fn extensions(protocol: u8, shape: &Shape) -> (u8, Vec<u8>) {
    let mut numbers = shape.extensions.clone();
    if shape.fragment.is_some() {
        numbers.push(44);
    }
    numbers.push(protocol);
    let mut bytes = Vec::new();
    for pair in numbers.windows(2) {
        match pair[0] {
            44 => {
                let (identification, offset, more) = shape.fragment.unwrap_or_default();
                let [high, low] = ((offset & 0xfff8) | u16::from(more)).to_be_bytes();
                bytes.extend([pair[1], 0, high, low]);
                bytes.extend(identification.to_be_bytes());
            }
            // An authentication header counts in words of four bytes, less two.
            51 => bytes.extend([[pair[1], 2], [0; 2]].concat().into_iter().chain([0; 12])),
            _ => bytes.extend([pair[1], 0, 1, 4, 0, 0, 0, 0]),
        }
    }
    (numbers[0], bytes)
}

/// A frame of an EtherType.
#[must_use]
pub fn ether(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&addresses[..], &ether_type.to_be_bytes(), payload].concat()
}

/// An ARP packet of a sender.
#[must_use]
pub fn arp(sender: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1];
    ether(0x0806, &[&head[..], &sender, &[0; 6], &[10, 244, 0, 1]].concat())
}

/// The body of a message of neighbour discovery.
#[must_use]
pub fn neighbour(kind: u8, target: [u8; 16]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target].concat()
}

/// The body of an ICMP error that quotes a frame.
#[must_use]
pub fn error(kind: u8, quoted: &[u8]) -> Vec<u8> {
    let quoted = quoted.get(14..).unwrap_or_default();
    [&[kind, 0, 0, 0, 0, 0, 0, 0], &quoted[..quoted.len().min(600)]].concat()
}

/// The same frame behind a VLAN tag.
#[must_use]
pub fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat()
}
