//! What is not understood is dropped for an isolated pod, under a reason of its own.

use policy_common::drops::Reason;

use crate::{
    craft::{Flags, OUT, OUT_V6, behind, frame, ip, tcp, udp, with_these_options},
    rig::{Isolated, Rig, everything},
};

/// Changes a byte of a frame.
fn with(mut frame: Vec<u8>, offset: usize, byte: u8) -> Vec<u8> {
    frame[offset] = byte;
    frame
}

#[rustfmt::skip]
fn oddities() -> Vec<(&'static str, Vec<u8>, Reason)> {
    let routed = behind(&udp(OUT_V6), &[43]);
    vec![
        ("a loose source route",         with_these_options(&udp(OUT), &[131, 7, 4, 10, 9, 9, 9, 0]), Reason::IpOptions),
        ("a strict source route",        with_these_options(&udp(OUT), &[1, 137, 7, 4, 10, 9, 9, 9]), Reason::IpOptions),
        ("an option without a length",   with_these_options(&udp(OUT), &[68, 0, 0, 0]),  Reason::IpOptions),
        ("an option beyond the header",  with_these_options(&udp(OUT), &[68, 12, 5, 0]), Reason::IpOptions),
        ("segments left to visit",       with(routed, 57, 1),                            Reason::ExtensionHeader),
        ("a TCP header cut short",       ip(OUT.source, OUT.destination, 64, 6, &[0; 19]), Reason::Malformed),
        ("a UDP header cut short",       ip(OUT.source, OUT.destination, 64, 17, &[0; 7]), Reason::Malformed),
        ("a TCP header that ends early", with(tcp(OUT, Flags::Syn), 46, 0x40),   Reason::Malformed),
        ("a TCP header beyond the end",  with(tcp(OUT, Flags::Syn), 46, 0xf0),   Reason::Malformed),
        ("a length beyond the frame",    with(udp(OUT), 16, 0x01),               Reason::Malformed),
        ("a length that cuts UDP short", with(udp(OUT), 17, 27),                 Reason::Malformed),
        ("a length below the header",    with(udp(OUT), 17, 10),                 Reason::Malformed),
        ("an IPv6 length of none",       with(with(udp(OUT_V6), 18, 0), 19, 0),  Reason::Malformed),
        ("another EtherType",            frame(0x88cc, &[0; 46]),                Reason::EtherType),
    ]
}

#[test]
fn s34_what_is_not_understood_is_dropped_for_an_isolated_pod() {
    for isolated in [Isolated::Ingress, Isolated::Egress, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        rig.allow(&[everything(0)]);
        for (claim, frame, reason) in oddities() {
            assert_eq!(rig.sent(&frame), Some(reason), "{claim}");
        }
    }
}

#[test]
fn s33_s34_towards_an_isolated_pod_too() {
    let mut rig = Rig::new(Isolated::Ingress);
    rig.allow(&[everything(0)]);
    let turned = |frame: Vec<u8>| {
        let mut back = frame.clone();
        back[26..30].copy_from_slice(&frame[30..34]);
        back[30..34].copy_from_slice(&frame[26..30]);
        back
    };
    for (claim, frame, reason) in oddities() {
        let frame = if frame[12..14] == [8, 0] {
            turned(frame)
        } else {
            continue;
        };
        assert_eq!(rig.received(&frame), Some(reason), "{claim}");
    }
}

#[test]
fn s01_a_pod_that_nothing_isolates_gets_and_sends_it() {
    let mut rig = Rig::new(Isolated::Neither);
    for (claim, frame, _) in oddities() {
        assert_eq!(rig.sent(&frame), None, "{claim}");
        assert_eq!(rig.received(&frame), None, "{claim}");
    }
}

#[test]
fn s34_a_header_without_addresses_is_dropped_for_every_pod_that_may_not_spoof() {
    let mut rig = Rig::new(Isolated::Neither);
    assert_eq!(rig.sent(&with(udp(OUT), 14, 0x55)), Some(Reason::Malformed), "version five");
    assert_eq!(rig.sent(&with(udp(OUT), 14, 0x44)), Some(Reason::Malformed), "a header too short");
    assert_eq!(rig.sent(&with(udp(OUT_V6), 14, 0x45)), Some(Reason::Malformed));
    assert_eq!(rig.received(&with(udp(OUT.back()), 14, 0x55)), None, "not so towards it");
}
