//! Replies to what a pod may not send (S59).

use std::{thread::sleep, time::Duration};

use policy_common::{
    allow::{PortSet, every},
    drops::Reason,
    endpoint::flags,
    limits::{RECORD_BURST, REPLY_INTERVAL},
    protocol::{ICMP, ICMPV6},
};

use crate::{
    craft::{
        Ends, Flags, OUT, OUT_V6, PEER, PEER_V6, POD, POD_V6, SCTP, TCP, UDP, fragment, icmp, ip,
        long_udp, sctp, tcp, tcp_at, udp, with_options,
    },
    rig::{Isolated, Rig, everything, ports},
};

const RST: u8 = 4;
const RST_ACK: u8 = 0x14;

/// The sum of sixteen-bit words in ones' complement; with a valid checksum in it, it is `ffff`.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let words = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    words.fold(0, |sum, word| {
        let sum = u32::from(sum) + word;
        u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
    })
}

/// The payload of a reply, after a check of all that every reply has: the link-layer addresses the
/// other way, the far end as its source, the pod as its destination, one hop limit, valid checksums.
fn checked(sent: &[u8], reply: &[u8], protocol: u8) -> Vec<u8> {
    assert_eq!((&reply[0..6], &reply[6..12]), (&sent[6..12], &sent[0..6]));
    assert_eq!(reply[12..14], sent[12..14]);
    if sent[12] == 0x08 {
        assert_eq!(reply[14], 0x45);
        assert_eq!(usize::from(u16::from_be_bytes([reply[16], reply[17]])), reply.len() - 14);
        assert_eq!((reply[22], reply[23]), (64, protocol));
        assert_eq!((&reply[26..30], &reply[30..34]), (&sent[30..34], &sent[26..30]));
        assert_eq!(sum(&[&reply[14..34]]), 0xffff, "of the IP header");
        let payload = &reply[34..];
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let pseudo = [&reply[26..34], &[0, protocol], &length].concat();
        let pseudo = if protocol == ICMP { &[][..] } else { &pseudo };
        assert_eq!(sum(&[pseudo, payload]), 0xffff, "of the payload");
        return payload.to_vec();
    }
    assert_eq!(reply[14..18], [0x60, 0, 0, 0]);
    assert_eq!(usize::from(u16::from_be_bytes([reply[18], reply[19]])), reply.len() - 54);
    assert_eq!((reply[20], reply[21]), (protocol, 64));
    assert_eq!((&reply[22..38], &reply[38..54]), (&sent[38..54], &sent[22..38]));
    let payload = &reply[54..];
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    assert_eq!(sum(&[&reply[22..54], &length, &[0, protocol], payload]), 0xffff);
    payload.to_vec()
}

/// Sequence number, acknowledgement number and flags of the reset that answers a frame.
fn reset(sent: &[u8], reply: &[u8], ends: Ends<'_>) -> (u32, u32, u8) {
    let segment = checked(sent, reply, TCP);
    assert_eq!((segment.len(), segment[12]), (20, 0x50), "a header without options or data");
    assert_eq!(segment[0..2], ends.destination_port.to_be_bytes());
    assert_eq!(segment[2..4], ends.source_port.to_be_bytes());
    let word = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().unwrap());
    (word(4), word(8), segment[13])
}

/// A frame from one link-layer address to another one.
fn between_others(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame
}

/// The same IP packet with more bytes at its end.
fn longer(mut frame: Vec<u8>, bytes: usize) -> Vec<u8> {
    frame.resize(frame.len() + bytes, 7);
    let (at, header) = if frame[12] == 0x08 { (16, 14) } else { (18, 54) };
    let length = u16::try_from(frame.len() - header).unwrap();
    frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
    frame
}

#[test]
fn s59_a_denied_syn_gets_a_reset_that_acknowledges_it() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::rejecting();
        for (data, sequence) in [(0, 7), (100, u32::MAX)] {
            let frame = between_others(longer(tcp_at(ends, Flags::Syn, sequence), data));
            let reply = rig.reply(&frame).expect("a reply");
            let acknowledged = sequence.wrapping_add(u32::try_from(data).unwrap() + 1);
            assert_eq!(reset(&frame, &reply, ends), (0, acknowledged, RST_ACK));
        }
    }
}

/// A connection that the pod opened, and that its policies no longer allow.
fn revoked(ends: Ends<'_>) -> Rig {
    let mut rig = Rig::rejecting();
    rig.allow(&[everything(0)]);
    assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None);
    assert_eq!(rig.received(&tcp(ends.back(), Flags::SynAck)), None);
    assert_eq!(rig.sent(&tcp(ends, Flags::Ack)), None);
    rig.allow(&[]);
    rig.epoch(2);
    rig
}

#[test]
fn s59_a_segment_of_a_connection_that_is_no_longer_allowed_is_reset_where_the_pod_expects_it() {
    for ends in [OUT, OUT_V6] {
        let mut rig = revoked(ends);
        for data in [0, 1, 1400] {
            let mut frame = longer(tcp(ends, Flags::Ack), data);
            let at = if ends.source.contains(':') { 54 } else { 34 };
            frame[at + 8..at + 12].copy_from_slice(&77_u32.to_be_bytes());
            let reply = rig.reply(&frame).expect("a reply");
            assert_eq!(reset(&frame, &reply, ends), (77, 0, RST));
        }
        assert_eq!(rig.reply(&tcp(ends, Flags::Rst)), None, "a reset is not answered");
        assert_eq!(rig.reply_to_received(&tcp(ends.back(), Flags::Ack)), None, "to the far end");
    }
}

#[test]
fn s59_the_far_ends_connections_and_those_of_unknown_origin_get_no_reply() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::rejecting();
        rig.allow(&[everything(0)]);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Syn)), None);
        assert_eq!(rig.sent(&tcp(ends, Flags::SynAck)), None);
        rig.allow(&[]);
        rig.epoch(2);
        for flags in [Flags::SynAck, Flags::Ack] {
            assert_eq!(rig.reply(&tcp(ends, flags)), None, "the far end opened it");
            assert_eq!(rig.reply(&tcp(ends.at(81), flags)), None, "no flow shows who opened it");
        }
        assert_eq!(rig.reply_to_received(&tcp(ends.back().at(9), Flags::Syn)), None);
        assert_eq!(rig.reply(&sctp(ends, 0)), None, "no flow shows who opened it");
    }
}

#[test]
fn s59_every_other_protocol_gets_an_error_that_quotes_the_packet() {
    let echo = [0, 9, 0, 1, 1, 2, 3, 4];
    for (ends, request, header) in [(OUT, 8, 20), (OUT_V6, 128, 40)] {
        let (pod, peer) = (ends.source, ends.destination);
        let mut rig = Rig::rejecting();
        let frames = [
            udp(ends),
            sctp(ends, 1),
            icmp(pod, peer, request, &echo),
            ip(pod, peer, 64, 50, &[1; 33]),
            ip(pod, peer, 64, UDP, &udp(ends)[14 + header..]),
            long_udp(ends, 39),
            long_udp(ends, 500),
        ];
        for frame in frames {
            let frame = between_others(frame);
            let reply = rig.reply(&frame).expect("a reply");
            let (protocol, kind) = error(ends);
            let message = checked(&frame, &reply, protocol);
            assert_eq!((&message[..2], &message[4..8]), (&kind[..], &[0; 4][..]));
            assert_eq!(message[8..], frame[14..], "all of it is quoted");
        }
    }
}

/// The protocol, and type and code, of the error in a family.
fn error(ends: Ends<'_>) -> (u8, [u8; 2]) {
    if ends.source.contains(':') { (ICMPV6, [1, 1]) } else { (ICMP, [3, 13]) }
}

#[test]
fn s59_a_long_packet_is_quoted_as_far_as_the_standards_say() {
    for (ends, most) in [(OUT, 576), (OUT_V6, 1280)] {
        let mut rig = Rig::rejecting();
        for bytes in [most, 1500, 3000] {
            let frame = long_udp(ends, bytes);
            let reply = rig.reply(&frame).expect("a reply");
            assert_eq!(reply.len(), 14 + most);
            let message = checked(&frame, &reply, error(ends).0);
            assert_eq!(message[8..], frame[14..][..message.len() - 8]);
        }
        // What follows the end of a packet is padding.
        let padded = [&udp(ends)[..], &[9; 20]].concat();
        let message = checked(&padded, &rig.reply(&padded).expect("a reply"), error(ends).0);
        assert_eq!(message[8..], udp(ends)[14..]);
    }
}

#[test]
fn s59_a_segment_with_ip_options_gets_an_error() {
    let frame = with_options(&tcp(OUT, Flags::Syn));
    let reply = Rig::rejecting().reply(&frame).expect("a reply");
    assert_eq!(checked(&frame, &reply, ICMP)[8..], frame[14..]);
}

#[test]
fn s59_errors_answers_groups_fragments_and_forged_sources_get_no_reply() {
    let quoted = |ends: Ends<'_>| [&[0; 4], &udp(ends.back())[14..]].concat();
    let reply = [0, 9, 0, 1, 1, 2, 3, 4];
    let mut broadcast = udp(OUT);
    broadcast[0..6].fill(0xff);
    let mut group6 = udp(OUT_V6);
    group6[0..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    let to = |ends: Ends<'static>, destination| Ends { destination, ..ends };
    #[rustfmt::skip]
    let cases = [
        ("unreachable",             icmp(POD, PEER, 3, &quoted(OUT))),
        ("time exceeded",           icmp(POD, PEER, 11, &quoted(OUT))),
        ("parameter problem",       icmp(POD, PEER, 12, &quoted(OUT))),
        ("redirect",                icmp(POD, PEER, 5, &quoted(OUT))),
        ("an unknown type",         icmp(POD, PEER, 99, &reply)),
        ("unreachable, 6",          icmp(POD_V6, PEER_V6, 1, &quoted(OUT_V6))),
        ("too big, 6",              icmp(POD_V6, PEER_V6, 2, &quoted(OUT_V6))),
        ("time exceeded, 6",        icmp(POD_V6, PEER_V6, 3, &quoted(OUT_V6))),
        ("parameter problem, 6",    icmp(POD_V6, PEER_V6, 4, &quoted(OUT_V6))),
        ("an unknown error, 6",     icmp(POD_V6, PEER_V6, 99, &reply)),
        ("an echo reply",           icmp(POD, PEER, 0, &reply)),
        ("an echo reply, 6",        icmp(POD_V6, PEER_V6, 129, &reply)),
        ("multicast",               udp(to(OUT, "224.0.1.1"))),
        ("multicast, 6",            udp(to(OUT_V6, "ff05::1"))),
        ("limited broadcast",       udp(to(OUT, "255.255.255.255"))),
        ("link-layer broadcast",    broadcast),
        ("link-layer group, 6",     group6),
        ("first fragment",          fragment(&udp(OUT))),
        ("first fragment, 6",       fragment(&udp(OUT_V6))),
        ("first fragment of TCP",   fragment(&tcp(OUT, Flags::Syn))),
        ("forged source",           udp(Ends { source: "10.244.0.99", ..OUT })),
        ("forged source, 6",        udp(Ends { source: "fd00:10:244::99", ..OUT_V6 })),
        ("forged source of TCP",    tcp(Ends { source: PEER, ..OUT }, Flags::Syn)),
        ("reset",                   tcp(OUT, Flags::Rst)),
    ];
    for (claim, frame) in cases {
        // Also where the pod may send from any address: that proves no source.
        for more in [0, flags::MAY_SPOOF] {
            let mut rig = Rig::rejecting();
            rig.reject_with(more);
            assert_eq!(rig.reply(&frame), None, "{claim}, flags {more}");
        }
    }
}

#[test]
fn s59_only_what_policies_deny_gets_a_reply() {
    let mut rig = Rig::rejecting();
    assert_eq!(rig.reply(&ip(POD, PEER, 64, 47, &[0; 8])), None, "a tunnel to a node");
    assert_eq!(rig.reply(&ip(POD, PEER, 64, TCP, &[0; 8])), None, "malformed");
    rig.no_content();
    assert_eq!(rig.reply(&udp(OUT)), None, "the allow map is missing");
}

#[test]
fn s59_the_reply_is_the_same_whatever_is_at_the_far_end() {
    for ends in [OUT, OUT_V6] {
        for frame in [tcp(ends, Flags::Syn), udp(ends)] {
            let protocol = if frame == udp(ends) { UDP } else { TCP };
            let mut plain = Rig::rejecting();
            let want = plain.reply(&frame);
            assert!(want.is_some());
            let mut pod = Rig::rejecting();
            pod.identity(ends.destination, 5);
            pod.pod(ends.destination);
            pod.allow(&[ports(5, &[(SCTP, 1, 9)])]);
            assert_eq!(pod.reply(&frame), want, "a pod");
            let partly = Reason::ServicePartlyDenied;
            for refusal in [Reason::ServiceDenied, Reason::ServiceNoBackend, partly] {
                let mut service = Rig::rejecting();
                service.frontend(ends.destination, ends.destination_port, protocol, 6);
                service.allow(&[PortSet {
                    identity: 6,
                    refusal: refusal as u8,
                    protocols: every::PROTOCOL,
                    ..PortSet::default()
                }]);
                assert_eq!(service.reply(&frame), want, "a Service: {refusal:?}");
            }
        }
    }
}

#[test]
fn s36_s59_without_the_flag_nothing_is_answered() {
    let mut rig = Rig::new(Isolated::Both);
    for ends in [OUT, OUT_V6] {
        assert_eq!(rig.reply(&tcp(ends, Flags::Syn)), None);
        assert_eq!(rig.reply(&udp(ends)), None);
    }
}

#[test]
fn s59_replies_are_limited_by_pod_and_every_drop_counts() {
    let mut rig = Rig::rejecting();
    let frame = tcp(OUT, Flags::Syn);
    let replies = (0..3 * RECORD_BURST).filter(|_| rig.reply(&frame).is_some()).count();
    // The tests may take longer than the time of a few more.
    let most = usize::try_from(2 * RECORD_BURST).unwrap();
    assert!((usize::try_from(RECORD_BURST).unwrap()..most).contains(&replies), "{replies}");
    while rig.reply(&frame).is_some() {}
    sleep(Duration::from_nanos(2 * REPLY_INTERVAL));
    assert!(rig.reply(&udp(OUT_V6)).is_some(), "one more by now");
}
