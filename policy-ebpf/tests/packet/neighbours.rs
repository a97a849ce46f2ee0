//! ARP, neighbour discovery, MLD.

use policy_common::drops::Reason;

use crate::{
    craft::{POD_V6, extension, frame, ip, neighbour},
    rig::{Isolated, POD6, Rig, bytes},
};

const LINK_LOCAL: &str = "fe80::1234";
const ALL_NODES: &str = "ff02::1";

fn arp(sender: [u8; 4]) -> Vec<u8> {
    let head: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    frame(0x0806, &[&head[..], &[2, 0, 0, 0, 0, 1], &sender, &[0; 6], &[10, 244, 0, 1]].concat())
}

#[test]
fn s32_arp_needs_no_rule_but_the_pods_own_address() {
    for isolated in [Isolated::Neither, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        assert_eq!(rig.sent(&arp([10, 244, 0, 10])), None);
        assert_eq!(rig.sent(&arp([0; 4])), None, "an address probe");
        assert_eq!(rig.sent(&arp([10, 244, 0, 1])), Some(Reason::SpoofedNeighbour));
        assert_eq!(rig.received(&arp([10, 244, 0, 1])), None);
        let mut other = arp([10, 244, 0, 10]);
        other[14 + 5] = 16;
        assert_eq!(rig.sent(&other), Some(Reason::Malformed), "not of Ethernet and IPv4");
    }
}

fn advertise(target: [u8; 16]) -> Vec<u8> {
    neighbour(POD_V6, ALL_NODES, 136, &[&[0x60, 0, 0, 0][..], &target].concat())
}

/// An advertisement behind an extension header.
fn hidden(first: u8, units: u8, target: [u8; 16]) -> Vec<u8> {
    let message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target].concat();
    ip(POD_V6, ALL_NODES, 255, first, &[extension(58, units), message].concat())
}

/// A solicitation to one address.
fn ask(destination: &str, target: &str) -> Vec<u8> {
    neighbour(POD_V6, destination, 135, &[&[0; 4][..], &bytes(target)].concat())
}

fn solicit(source: &str, target: [u8; 16]) -> Vec<u8> {
    neighbour(source, "ff02::1:ff00:10", 135, &[&[0; 4][..], &target].concat())
}

#[test]
fn s32_neighbour_discovery_needs_no_rule_within_its_standard() {
    let other = bytes("fd00:10:244::11");
    for isolated in [Isolated::Neither, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        #[rustfmt::skip]
        let cases = [
            // claim                               frame                                   verdict
            ("a pod advertises itself",            advertise(POD6),                        None),
            ("and its link-local address",         advertise(bytes(LINK_LOCAL)),           None),
            ("but no other",                       advertise(other),                       Some(Reason::SpoofedNeighbour)),
            ("it asks for anybody",                solicit(POD_V6, other),                 None),
            ("also from a link-local address",     solicit(LINK_LOCAL, other),             None),
            ("it asks whether its own is free",    solicit("::", POD6),                    None),
            ("not whether another's is",           solicit("::", other),                   Some(Reason::SpoofedNeighbour)),
            ("nor as another",                     solicit("fd00:10:244::11", POD6),       Some(Reason::SpoofedSource)),
            ("it looks for routers",               neighbour("::", "ff02::2", 133, &[0; 4]), None),
            ("it is none",                         neighbour(LINK_LOCAL, ALL_NODES, 134, &[0; 12]), Some(Reason::RouterMessage)),
            ("nor does it redirect",               neighbour(LINK_LOCAL, ALL_NODES, 137, &[0; 36]), Some(Reason::RouterMessage)),
            ("a router in between",                ip(POD_V6, ALL_NODES, 254, 58, &[136; 24]), Some(Reason::InvalidNeighbour)),
            ("beyond the link",                    neighbour(POD_V6, "ff05::1", 135, &[0; 20]), Some(Reason::InvalidNeighbour)),
            ("a neighbour, directly",              ask("fd00:10:244::11", "fd00:10:244::11"), None),
            ("but not for another's address",      ask("fd00:10:244::11", "fd00:10:244::12"), Some(Reason::InvalidNeighbour)),
            ("and not off the link",               ask("2001:db8::1", "2001:db8::1"),      Some(Reason::InvalidNeighbour)),
            ("nor does an advertisement go there", neighbour(POD_V6, "2001:db8::1", 136, &[&[0; 4][..], &POD6].concat()), Some(Reason::InvalidNeighbour)),
            ("nor a search for routers",           neighbour(POD_V6, "2001:db8::1", 133, &[0; 400]), Some(Reason::InvalidNeighbour)),
            ("a forgery behind options",           hidden(60, 0, other),                   Some(Reason::SpoofedNeighbour)),
            ("or behind a longer header",          hidden(0, 1, other),                    Some(Reason::SpoofedNeighbour)),
        ];
        for (claim, frame, verdict) in cases {
            assert_eq!(rig.sent(&frame), verdict, "{claim}");
        }
    }
}

#[test]
fn s32_a_pod_gets_neighbour_discovery_without_a_rule() {
    let mut rig = Rig::new(Isolated::Both);
    let solicited = neighbour("fd00:10:244::1", POD_V6, 135, &[&[0; 4][..], &POD6].concat());
    assert_eq!(rig.received(&solicited), None);
    assert_eq!(rig.received(&neighbour(LINK_LOCAL, ALL_NODES, 134, &[0; 12])), None);
    let routed = ip("fd00:10:244::1", POD_V6, 64, 58, &[136; 24]);
    assert_eq!(rig.received(&routed), Some(Reason::InvalidNeighbour));
}

#[test]
fn s32_mld_passes_behind_its_router_alert() {
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    let report = [&alert[..], &[143, 0, 0, 0, 0, 0, 0, 0]].concat();
    for isolated in [Isolated::Neither, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        assert_eq!(rig.sent(&ip(LINK_LOCAL, "ff02::16", 1, 0, &report)), None);
        assert_eq!(rig.sent(&ip("::", "ff02::16", 1, 0, &report)), None);
        let away = ip(LINK_LOCAL, "2001:db8::1", 1, 0, &report);
        assert_eq!(rig.sent(&away), Some(Reason::InvalidNeighbour));
        let routed = ip(LINK_LOCAL, "ff02::16", 2, 0, &report);
        assert_eq!(rig.sent(&routed), Some(Reason::InvalidNeighbour));
    }
}

#[test]
fn s32_a_link_local_source_stays_on_the_link() {
    let mut rig = Rig::new(Isolated::Neither);
    let to = |destination| ip(LINK_LOCAL, destination, 64, 17, &[0, 9, 0, 9, 0, 8, 0, 0]);
    assert_eq!(rig.sent(&to("fe80::1")), None);
    assert_eq!(rig.sent(&to("ff02::fb")), None);
    assert_eq!(rig.sent(&to("fd00:10:244:1::10")), Some(Reason::SpoofedSource));
    assert_eq!(rig.sent(&to("ff05::fb")), Some(Reason::SpoofedSource));
}

#[test]
fn s32_an_isolated_pod_gets_no_neighbour_message_for_another() {
    for isolated in [Isolated::Ingress, Isolated::Egress, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        for kind in [133, 135, 136, 137] {
            let to = |destination| neighbour("fe80::1", destination, kind, &[0; 36]);
            let flooded = rig.received(&to("2001:db8::7"));
            assert_eq!(flooded, Some(Reason::NotForPod), "type {kind} of a bridge that floods");
            for own in [POD_V6, LINK_LOCAL, "ff02::1", "ff02::1:ff00:10"] {
                assert_eq!(rig.received(&to(own)), None, "type {kind} to {own}");
            }
        }
    }
    let flooded = neighbour("fe80::1", "2001:db8::7", 137, &[0; 36]);
    assert_eq!(Rig::new(Isolated::Neither).received(&flooded), None, "nothing isolates it");
}

/// The same IPv6 packet with another length in its header.
fn stating(mut frame: Vec<u8>, length: u16) -> Vec<u8> {
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame
}

#[test]
fn s34_a_neighbour_message_is_as_long_as_its_header_states() {
    let mut rig = Rig::new(Isolated::Both);
    let solicited = neighbour("fd00:10:244::1", POD_V6, 135, &[&[0; 4][..], &POD6].concat());
    assert_eq!(rig.received(&stating(solicited, 242)), Some(Reason::Malformed), "beyond the frame");
    let own = advertise(POD6);
    assert_eq!(rig.sent(&stating(own.clone(), 242)), Some(Reason::Malformed));
    // The target lies in the padding of the frame.
    assert_eq!(rig.sent(&stating(own, 8)), Some(Reason::Malformed));
}
