//! Options and extension headers: what is behind them decides.

use policy_common::drops::Reason;

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, TCP, behind, icmp, ip, tcp, udp, with_these_options},
    rig::{Isolated, Rig, everything, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

/// Record route, timestamp, router alert, no operation, end of options.
const OPTIONS: [&[u8]; 5] = [
    &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[148, 4, 0, 0],
    &[1, 1, 1, 1],
    &[0, 255, 255, 255],
];

/// Hop by hop, routing (no segments left), fragment (the only one), authentication, destination
/// options, and some of them in a chain.
const HEADERS: [&[u8]; 7] = [&[0], &[43], &[44], &[51], &[60], &[0, 60], &[0, 43, 44, 51, 60]];

/// Both directions of a pod, which may use TCP port 80 alone, and a change to each packet.
fn judged_as_plain(ends: Ends<'_>, change: impl Fn(&[u8]) -> Vec<u8>, claim: &str) {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[ports(0, &[(TCP, 80, 80)])]);
    assert_eq!(rig.sent(&change(&tcp(ends, Flags::Syn))), None, "{claim}");
    assert_eq!(rig.received(&change(&tcp(ends.back(), Flags::SynAck))), None, "{claim}: its reply");
    assert_eq!(rig.sent(&change(&tcp(ends.at(22), Flags::Syn))), DENIED, "{claim}");
    assert_eq!(rig.sent(&change(&udp(ends))), DENIED, "{claim}");
    let inbound = Ends { source_port: 5000, ..ends.back() };
    assert_eq!(rig.received(&change(&tcp(inbound.at(80), Flags::Syn))), None, "{claim}: inbound");
    assert_eq!(rig.received(&change(&tcp(inbound.at(22), Flags::Syn))), DENIED, "{claim}: inbound");
}

#[test]
fn s34_ipv4_options_are_walked() {
    for options in OPTIONS {
        judged_as_plain(OUT, |frame| with_these_options(frame, options), &format!("{options:?}"));
    }
}

#[test]
fn s34_ipv6_extension_headers_are_walked() {
    for headers in HEADERS {
        judged_as_plain(OUT_V6, |frame| behind(frame, headers), &format!("{headers:?}"));
    }
}

#[test]
fn s34_an_ipv6_authentication_header_counts_in_words_of_four_bytes() {
    let authenticated = |frame: &[u8]| {
        let header = [&[frame[20], 4, 0, 0][..], &[0; 20]].concat();
        let mut whole = [&frame[..54], &header, &frame[54..]].concat();
        let length = u16::try_from(whole.len() - 54).unwrap();
        whole[18..20].copy_from_slice(&length.to_be_bytes());
        whole[20] = 51;
        whole
    };
    judged_as_plain(OUT_V6, authenticated, "an authentication header of 24 bytes");
}

#[test]
fn s34_an_ipv4_authentication_header_is_walked() {
    let authenticated = |frame: &[u8]| {
        let mut payload = vec![frame[23], 4, 0, 0];
        payload.resize(24, 0);
        payload.extend_from_slice(&frame[34..]);
        let address = |at: usize| {
            format!("{}.{}.{}.{}", frame[at], frame[at + 1], frame[at + 2], frame[at + 3])
        };
        ip(&address(26), &address(30), 64, 51, &payload)
    };
    judged_as_plain(OUT, authenticated, "an authentication header");
}

#[test]
fn s35_a_membership_report_passes_where_all_is_allowed_or_nothing_isolates() {
    let report = ip(OUT.source, "224.0.0.22", 1, 2, &[0x22, 0, 0, 0, 0, 0, 0, 0]);
    let report = with_these_options(&report, &[148, 4, 0, 0]);
    let mut rig = Rig::new(Isolated::Both);
    assert_eq!(rig.sent(&report), DENIED);
    rig.allow(&[ports(0, &[(TCP, 0, 65535)])]);
    assert_eq!(rig.sent(&report), DENIED);
    rig.allow(&[everything(0)]);
    assert_eq!(rig.sent(&report), None);
    assert_eq!(Rig::new(Isolated::Ingress).sent(&report), None);
}

#[test]
fn s31_an_error_behind_or_about_extension_headers_is_understood() {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[ports(0, &[(TCP, 80, 80)])]);
    assert_eq!(rig.sent(&tcp(OUT_V6, Flags::Syn)), None);
    for headers in HEADERS {
        let quoted = behind(&tcp(OUT_V6, Flags::Syn), headers);
        let error = icmp("2001:db8::1", OUT_V6.source, 1, &[&[0; 4], &quoted[14..]].concat());
        assert_eq!(rig.received(&error), None, "about {headers:?}");
        let plain = tcp(OUT_V6, Flags::Syn);
        let error = icmp("2001:db8::1", OUT_V6.source, 1, &[&[0; 4], &plain[14..]].concat());
        assert_eq!(rig.received(&behind(&error, headers)), None, "behind {headers:?}");
    }
}
