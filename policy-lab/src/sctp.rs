//! SCTP by raw IP sockets: an INIT out, an INIT ACK back (RFC 9260, 3.3.2 and 3.3.3).
//!
//! A kernel need not have sockets of that protocol, and a probe needs no association. The state
//! cookie of the answer carries the server's name.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::net::UdpSocket;

/// Chunk that asks for an association.
const INIT: u8 = 1;
/// Chunk that answers it.
const INIT_ACK: u8 = 2;
/// Parameter of the answer that the initiator has to send back.
const STATE_COOKIE: u16 = 7;

/// Bytes of ports, verification tag and checksum.
const COMMON: usize = 12;
/// Bytes of either chunk up to its parameters.
const CHUNK: usize = 20;
/// Bytes of a parameter's type and length.
const PARAMETER: usize = 4;

/// Bytes of the largest packet that is received: addresses and names have room to spare.
const LARGEST: usize = 1024;

/// What a packet asks or answers.
struct Packet<'a> {
    from: u16,
    to: u16,
    verification: [u8; 4],
    kind: u8,
    /// The sender's initiate tag.
    tag: [u8; 4],
    parameters: &'a [u8],
}

/// The first packet of an association.
pub(super) fn init(from: u16, to: u16) -> Vec<u8> {
    packet([from, to], [0; 4], INIT, tag_of(from), &[])
}

/// The name in an answer to [`init`] of the same ports; `None` in any other packet. In IPv4, raw
/// sockets receive the IP header too.
pub(super) fn name_in(received: &[u8], ipv4: bool, from: u16, to: u16) -> Option<String> {
    let answer = Packet::read(received, ipv4)?;
    let is_answer = (answer.from, answer.to, answer.kind, answer.verification)
        == (to, from, INIT_ACK, tag_of(from));
    let (length, cookie) = is_answer.then_some(answer.parameters)?.split_at_checked(PARAMETER)?;
    let length = usize::from(u16::from_be_bytes([length[2], length[3]])).checked_sub(PARAMETER)?;
    Some(String::from_utf8_lossy(cookie.get(..length)?).into_owned())
}

/// Answers each INIT to a port of `names` with the name, at the address that `raw` is bound to.
pub(super) async fn serve(raw: UdpSocket, names: BTreeMap<u16, String>) {
    let mut buffer = [0; LARGEST];
    loop {
        // An error here is an ICMP answer to an earlier reply; the next packet may be good.
        let Ok((length, client)) = raw.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(asked) = Packet::read(&buffer[..length], client.is_ipv4()) else {
            continue;
        };
        if let (INIT, Some(name)) = (asked.kind, names.get(&asked.to)) {
            let ports = [asked.to, asked.from];
            let answer = packet(ports, asked.tag, INIT_ACK, tag_of(asked.to), name.as_bytes());
            // IPv6 takes a port here for a protocol number.
            let _ = raw.send_to(&answer, SocketAddr::new(client.ip(), 0)).await;
        }
    }
}

impl<'a> Packet<'a> {
    /// `None` for what is no INIT or INIT ACK.
    fn read(received: &'a [u8], ipv4: bool) -> Option<Self> {
        let header = if ipv4 { usize::from(received.first()? & 0x0f) * 4 } else { 0 };
        let bytes = received.get(header..)?;
        let (head, parameters) = bytes.split_at_checked(COMMON + CHUNK)?;
        let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let kind = head[COMMON];
        matches!(kind, INIT | INIT_ACK).then(|| Self {
            from: u16::from_be_bytes([head[0], head[1]]),
            to: u16::from_be_bytes([head[2], head[3]]),
            verification: four(4),
            kind,
            tag: four(COMMON + 4),
            parameters,
        })
    }
}

/// A packet of one chunk, complete with its checksum; without a cookie where that is empty.
fn packet(
    ports: [u16; 2],
    verification: [u8; 4],
    kind: u8,
    tag: [u8; 4],
    cookie: &[u8],
) -> Vec<u8> {
    let parameter = if cookie.is_empty() { 0 } else { PARAMETER + cookie.len() };
    let mut packet: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    packet.extend(verification);
    packet.extend([0; 4]);
    packet.extend([kind, 0]);
    packet.extend(length_of(CHUNK + parameter));
    packet.extend(tag);
    // Window, streams out and in, first sequence number.
    packet.extend([0, 0, 0xff, 0xff, 0, 1, 0, 1]);
    packet.extend(tag);
    if !cookie.is_empty() {
        packet.extend(STATE_COOKIE.to_be_bytes());
        packet.extend(length_of(parameter));
        packet.extend(cookie);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..COMMON].copy_from_slice(&sum);
    packet
}

fn length_of(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// An initiate tag, never zero, that tells probes apart.
fn tag_of(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [0x70, 0x6f, high, low]
}

/// The checksum of SCTP (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    /// The Castagnoli polynomial, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
        }
    }
    !sum
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
    fn an_answer_names_its_server_to_who_asked() {
        let asked = init(5000, 3868);
        let read = Packet::read(&asked, false).expect("an INIT");
        let answer = packet([read.to, read.from], read.tag, INIT_ACK, tag_of(1), b"ns/web");
        assert_eq!(answer.len() % 4, 0);
        assert_eq!(name_in(&answer, false, 5000, 3868).as_deref(), Some("ns/web"));
        assert_eq!(name_in(&answer, false, 5001, 3868), None, "another probe's");
        assert_eq!(name_in(&answer, false, 5000, 3869), None, "another server's");
        assert_eq!(name_in(&asked, false, 5000, 3868), None, "no answer");
        let foreign = packet([3868, 5000], [9; 4], INIT_ACK, tag_of(1), b"ns/web");
        assert_eq!(name_in(&foreign, false, 5000, 3868), None, "not to this INIT");
    }

    #[test]
    fn the_ip_header_of_ipv4_is_passed_over() {
        let mut received = vec![0x45; 20];
        received.extend(packet([1, 2], tag_of(2), INIT_ACK, tag_of(1), b"x"));
        assert_eq!(name_in(&received, true, 2, 1).as_deref(), Some("x"));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let whole = packet([1, 2], tag_of(2), INIT_ACK, tag_of(1), b"name");
        for length in 0..whole.len() {
            assert_eq!(name_in(&whole[..length], false, 2, 1), None, "{length}");
        }
    }
}
