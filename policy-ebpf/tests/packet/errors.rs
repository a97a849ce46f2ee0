//! ICMP errors: they pass if they quote a packet of a known flow.

use policy_common::drops::Reason;

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, TCP, icmp, ip, tcp, udp, with_these_options},
    rig::{Isolated, Rig, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

/// A router on the way, in the family of the ends.
fn router(ends: Ends<'_>) -> &'static str {
    if ends.source.contains(':') { "2001:db8::1" } else { "192.0.2.1" }
}

/// An error from `source` to `destination` that quotes a frame: the types that matter.
fn errors(source: &str, destination: &str, quoted: &[u8]) -> Vec<Vec<u8>> {
    // Unreachable (too big among them), time exceeded, parameter problem; too big has its own in v6.
    let kinds: &[u8] = if source.contains(':') { &[1, 2, 3, 4] } else { &[3, 11, 12] };
    let rest = [&[0; 4], &quoted[14..]].concat();
    kinds.iter().map(|kind| icmp(source, destination, *kind, &rest)).collect()
}

/// A pod with a TCP connection to port 80 of the far end, and nothing else allowed.
fn connected(ends: Ends<'_>) -> Rig {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[ports(0, &[(TCP, 80, 80)])]);
    assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None);
    assert_eq!(rig.received(&tcp(ends.back(), Flags::SynAck)), None);
    rig
}

#[test]
fn s31_an_error_about_the_pods_own_packet_passes_from_any_router() {
    for ends in [OUT, OUT_V6] {
        let mut rig = connected(ends);
        for error in errors(router(ends), ends.source, &tcp(ends, Flags::Ack)) {
            assert_eq!(rig.received(&error), None);
        }
        for error in errors(router(ends), ends.source, &tcp(ends.at(81), Flags::Ack)) {
            assert_eq!(rig.received(&error), DENIED, "about a flow that does not exist");
        }
        for error in errors(router(ends), ends.source, &tcp(ends.back(), Flags::Ack)) {
            assert_eq!(rig.received(&error), DENIED, "about a packet that the pod did not send");
        }
    }
}

#[test]
fn s31_an_error_about_a_packet_that_the_pod_got_passes_to_its_sender() {
    for ends in [OUT, OUT_V6] {
        let mut rig = connected(ends);
        let quoted = tcp(ends.back(), Flags::Ack);
        for error in errors(ends.source, ends.destination, &quoted) {
            assert_eq!(rig.sent(&error), None);
        }
        for error in errors(ends.source, router(ends), &quoted) {
            assert_eq!(rig.sent(&error), DENIED, "to somebody else");
        }
        for error in errors(ends.source, ends.destination, &udp(ends.back())) {
            assert_eq!(rig.sent(&error), DENIED, "about another protocol");
        }
    }
}

#[test]
fn s31_an_error_about_a_revoked_flow_does_not_pass() {
    for ends in [OUT, OUT_V6] {
        let mut rig = connected(ends);
        rig.allow(&[]);
        rig.epoch(2);
        for error in errors(router(ends), ends.source, &tcp(ends, Flags::Ack)) {
            assert_eq!(rig.received(&error), DENIED);
        }
    }
}

#[test]
fn s31_an_error_does_not_open_what_it_quotes() {
    let mut rig = connected(OUT);
    for error in errors(router(OUT), OUT.source, &tcp(OUT.at(81), Flags::Ack)) {
        rig.received(&error);
    }
    assert_eq!(rig.received(&tcp(OUT.at(81).back(), Flags::Ack)), DENIED);
}

#[test]
fn s31_a_quotation_cut_short_or_of_a_later_fragment_is_none() {
    let mut rig = connected(OUT);
    let mut short = tcp(OUT, Flags::Ack);
    short.truncate(14 + 20 + 7);
    for error in errors(router(OUT), OUT.source, &short) {
        assert_eq!(rig.received(&error), DENIED);
    }
    let mut fragment = tcp(OUT, Flags::Ack);
    fragment[14 + 7] = 1;
    for error in errors(router(OUT), OUT.source, &fragment) {
        assert_eq!(rig.received(&error), DENIED);
    }
}

#[test]
fn s31_an_error_may_quote_a_timestamp_an_information_request_or_an_address_mask() {
    let identifier = [0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for kind in [13, 15, 17] {
        let mut rig = Rig::new(Isolated::Ingress);
        let quoted = icmp(OUT.source, OUT.destination, kind, &identifier);
        for error in errors(router(OUT), OUT.source, &quoted) {
            assert_eq!(rig.received(&error), DENIED, "about {kind}, never sent");
        }
        assert_eq!(rig.sent(&quoted), None);
        for error in errors(router(OUT), OUT.source, &quoted) {
            assert_eq!(rig.received(&error), None, "about {kind}");
        }
    }
}

#[test]
fn s31_an_error_may_quote_a_packet_with_ipv4_options_or_an_authentication_header() {
    let mut rig = connected(OUT);
    let segment = tcp(OUT, Flags::Ack);
    let header = [&[6, 4, 0, 0][..], &[0; 20], &segment[34..]].concat();
    let authenticated = ip(OUT.source, OUT.destination, 64, 51, &header);
    for quoted in [with_these_options(&segment, &[7, 7, 4, 0, 0, 0, 0, 0]), authenticated] {
        for error in errors(router(OUT), OUT.source, &quoted) {
            assert_eq!(rig.received(&error), None);
        }
    }
}

#[test]
fn s34_what_follows_the_end_of_a_packet_is_not_quoted() {
    for ends in [OUT, OUT_V6] {
        let mut rig = connected(ends);
        for mut error in errors(router(ends), ends.source, &tcp(ends, Flags::Ack)) {
            // The IP header states that the message ends within the quoted IP header.
            let (at, kept) =
                if ends.source.contains(':') { (18, 8 + 40) } else { (16, 20 + 8 + 20) };
            error[at..at + 2].copy_from_slice(&u16::to_be_bytes(kept));
            assert_eq!(rig.received(&error), DENIED);
        }
    }
}
