//! SCTP probes over raw IP sockets: an INIT, and an INIT ACK in response (RFC 9260, 3.3.2, 3.3.3).
//!
//! Raw sockets, because the kernel may lack SCTP sockets and a probe needs no association.
//! The state cookie of the INIT ACK carries the server's name. The initiate tag is derived from
//! the source port, and the INIT ACK repeats it as its verification tag: by that a client
//! recognises the response to its own INIT.

use std::{collections::BTreeMap, net::SocketAddr};

use crc32c::crc32c;
use tokio::net::UdpSocket;

/// Chunk type that starts an association.
const INIT: u8 = 1;
/// Chunk type of the response.
const INIT_ACK: u8 = 2;
/// Parameter of an INIT ACK that the client echoes in its next packet.
const STATE_COOKIE: u16 = 7;

/// Bytes of the common header: ports, verification tag, checksum.
const COMMON_HEADER: usize = 12;
/// Bytes of either chunk without its parameters.
const CHUNK: usize = 20;
/// Bytes of a parameter's type and length.
const PARAMETER_HEADER: usize = 4;

/// Size of the receive buffer in bytes; a packet has headers and a name.
const RECEIVE_BUFFER: usize = 1024;

/// A packet with an INIT or an INIT ACK as its first chunk.
struct Packet<'a> {
    source_port: u16,
    destination_port: u16,
    verification_tag: [u8; 4],
    chunk_type: u8,
    initiate_tag: [u8; 4],
    parameters: &'a [u8],
}

/// Encodes the first packet of an association.
pub(crate) fn init(source_port: u16, destination_port: u16) -> Vec<u8> {
    encode([source_port, destination_port], [0; 4], INIT, tag_of(source_port), &[])
}

/// The server's name in the response to the INIT from `client_port` to `server_port`.
///
/// Returns `None` for any other packet. In IPv4 a raw socket receives the IP header too.
pub(crate) fn name_in(
    received: &[u8],
    ipv4: bool,
    client_port: u16,
    server_port: u16,
) -> Option<String> {
    let packet = Packet::parse(received, ipv4)?;
    let is_response = packet.source_port == server_port
        && packet.destination_port == client_port
        && packet.chunk_type == INIT_ACK
        && packet.verification_tag == tag_of(client_port);
    let parameters = is_response.then_some(packet.parameters)?;
    let (header, cookie) = parameters.split_at_checked(PARAMETER_HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let cookie = cookie.get(..length.checked_sub(PARAMETER_HEADER)?)?;
    Some(String::from_utf8_lossy(cookie).into_owned())
}

/// Responds to each INIT for a port of `names` with that port's name.
pub(crate) async fn serve(raw: UdpSocket, names: BTreeMap<u16, String>) {
    let mut buffer = [0; RECEIVE_BUFFER];
    loop {
        // An error is an ICMP error caused by an earlier response; the next packet may be valid.
        let Ok((length, client)) = raw.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(packet) = Packet::parse(&buffer[..length], client.is_ipv4()) else {
            continue;
        };
        if let (INIT, Some(name)) = (packet.chunk_type, names.get(&packet.destination_port)) {
            let ports = [packet.destination_port, packet.source_port];
            let tag = tag_of(packet.destination_port);
            let response = encode(ports, packet.initiate_tag, INIT_ACK, tag, name.as_bytes());
            // A raw IPv6 socket takes the port of an address for a protocol number.
            let _ = raw.send_to(&response, SocketAddr::new(client.ip(), 0)).await;
        }
    }
}

impl<'a> Packet<'a> {
    /// Returns `None` for a packet that starts with another chunk.
    fn parse(received: &'a [u8], ipv4: bool) -> Option<Self> {
        let ip_header = if ipv4 { usize::from(received.first()? & 0x0f) * 4 } else { 0 };
        let bytes = received.get(ip_header..)?;
        let (head, parameters) = bytes.split_at_checked(COMMON_HEADER + CHUNK)?;
        let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let chunk_type = head[COMMON_HEADER];
        matches!(chunk_type, INIT | INIT_ACK).then(|| Self {
            source_port: u16::from_be_bytes([head[0], head[1]]),
            destination_port: u16::from_be_bytes([head[2], head[3]]),
            verification_tag: four(4),
            chunk_type,
            initiate_tag: four(COMMON_HEADER + 4),
            parameters,
        })
    }
}

/// Encodes a packet of one chunk with its checksum; an empty cookie is left out.
fn encode(
    ports: [u16; 2],
    verification_tag: [u8; 4],
    chunk_type: u8,
    initiate_tag: [u8; 4],
    cookie: &[u8],
) -> Vec<u8> {
    let parameter = if cookie.is_empty() { 0 } else { PARAMETER_HEADER + cookie.len() };
    let mut packet: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    packet.extend(verification_tag);
    packet.extend([0; 4]);
    packet.extend([chunk_type, 0]);
    packet.extend(length_of(CHUNK + parameter));
    packet.extend(initiate_tag);
    // Receiver window, outbound and inbound streams; the first sequence number repeats the tag.
    packet.extend([0, 0, 0xff, 0xff, 0, 1, 0, 1]);
    packet.extend(initiate_tag);
    if !cookie.is_empty() {
        packet.extend(STATE_COOKIE.to_be_bytes());
        packet.extend(length_of(parameter));
        packet.extend(cookie);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    // The checksum is sent in little-endian order (RFC 9260, appendix A).
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..COMMON_HEADER].copy_from_slice(&sum);
    packet
}

fn length_of(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// The initiate tag of a probe: unique for its port, and never zero as the RFC requires.
fn tag_of(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [0x70, 0x6f, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeroes.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_response_names_its_server_to_its_client_alone() {
        let request = init(5000, 3868);
        let read = Packet::parse(&request, false).expect("an INIT");
        let response = encode(
            [read.destination_port, read.source_port],
            read.initiate_tag,
            INIT_ACK,
            tag_of(1),
            b"ns/web",
        );
        assert_eq!(response.len() % 4, 0);
        assert_eq!(name_in(&response, false, 5000, 3868).as_deref(), Some("ns/web"));
        assert_eq!(name_in(&response, false, 5001, 3868), None, "another probe's");
        assert_eq!(name_in(&response, false, 5000, 3869), None, "another server's");
        assert_eq!(name_in(&request, false, 5000, 3868), None, "no response");
        let foreign = encode([3868, 5000], [9; 4], INIT_ACK, tag_of(1), b"ns/web");
        assert_eq!(name_in(&foreign, false, 5000, 3868), None, "not to this INIT");
    }

    #[test]
    fn the_ip_header_of_ipv4_is_skipped() {
        let mut received = vec![0x45; 20];
        received.extend(encode([1, 2], tag_of(2), INIT_ACK, tag_of(1), b"x"));
        assert_eq!(name_in(&received, true, 2, 1).as_deref(), Some("x"));
    }

    #[test]
    fn a_truncated_packet_has_no_name() {
        let whole = encode([1, 2], tag_of(2), INIT_ACK, tag_of(1), b"name");
        for length in 0..whole.len() {
            assert_eq!(name_in(&whole[..length], false, 2, 1), None, "{length}");
        }
    }
}
