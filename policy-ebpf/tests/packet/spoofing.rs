//! A pod cannot pretend to be another.

use policy_common::{
    drops::Reason,
    endpoint::{Endpoint, NodeKind, flags},
};

use crate::{
    craft::{
        Ends, Flags, OUT, OUT_V6, PEER, extension, fragment, frame, ip, tagged, tcp, udp,
        with_options,
    },
    rig::{IFINDEX, Isolated, POD4, Rig, SLOT, everything},
};

#[test]
fn s46_a_foreign_source_is_dropped_isolated_or_not() {
    for isolated in [Isolated::Neither, Isolated::Ingress, Isolated::Egress, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        rig.content(&[everything(0)]);
        for ends in [
            Ends { source: "10.244.0.11", ..OUT },
            Ends { source: "0.0.0.0", ..OUT },
            Ends { source: "127.0.0.1", ..OUT },
            Ends { source: "255.255.255.255", ..OUT },
            Ends { source: "fd00:10:244::11", ..OUT_V6 },
            Ends { source: "::", ..OUT_V6 },
            Ends { source: "::1", ..OUT_V6 },
        ] {
            let spoofed = Some(Reason::SpoofedSource);
            assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), spoofed, "{}", ends.source);
            assert_eq!(rig.sent(&udp(ends)), spoofed, "{}", ends.source);
        }
        assert_eq!(rig.sent(&udp(OUT)), None);
        assert_eq!(rig.sent(&udp(OUT_V6)), None);
    }
}

#[test]
fn s46_a_pod_of_one_family_has_no_address_of_the_other() {
    let mut rig = Rig::new(Isolated::Neither);
    rig.endpoint(Endpoint { ifindex: IFINDEX, slot: SLOT, address4: POD4, ..Endpoint::default() });
    assert_eq!(rig.sent(&udp(OUT_V6)), Some(Reason::SpoofedSource));
    assert_eq!(rig.sent(&udp(Ends { source: "::", ..OUT_V6 })), Some(Reason::SpoofedSource));
}

#[test]
fn s46_tunnels_that_could_carry_any_source_are_dropped() {
    let mut rig = Rig::new(Isolated::Neither);
    rig.node_address("192.168.111.10", NodeKind::Own);
    rig.node_address("192.168.111.11", NodeKind::Other);
    for destination in ["192.168.111.10", "192.168.111.11"] {
        for port in [4789, 8472, 6081] {
            let ends = Ends { destination, ..OUT };
            assert_eq!(rig.sent(&udp(ends.at(port))), Some(Reason::Tunnel), "{port}");
            assert_eq!(rig.sent(&tcp(ends.at(port), Flags::Syn)), None, "TCP is no tunnel");
        }
    }
    assert_eq!(rig.sent(&udp(OUT.at(8472))), None, "no node, no end of a tunnel");
    for protocol in [4, 41, 47] {
        let inner = ip("10.244.9.9", PEER, 64, 17, &[0; 8]);
        let frame = ip(OUT.source, OUT.destination, 64, protocol, &inner[14..]);
        assert_eq!(rig.sent(&frame), Some(Reason::Tunnel), "protocol {protocol}");
        let frame = ip(OUT_V6.source, OUT_V6.destination, 64, protocol, &inner[14..]);
        assert_eq!(rig.sent(&frame), Some(Reason::Tunnel), "protocol {protocol}");
    }
}

#[test]
fn s46_a_pod_that_routes_may_send_from_any_address() {
    let mut rig = Rig::new(Isolated::Neither);
    rig.endpoint(Endpoint {
        ifindex: IFINDEX,
        slot: SLOT,
        flags: flags::MAY_SPOOF,
        address4: POD4,
        ..Endpoint::default()
    });
    assert_eq!(rig.sent(&udp(Ends { source: "10.244.0.11", ..OUT })), None);
    assert_eq!(rig.sent(&ip(OUT.source, OUT.destination, 64, 4, &[0; 20])), None);
}

#[test]
fn s46_fragments_options_and_tags_do_not_hide_a_source() {
    let mut rig = Rig::new(Isolated::Neither);
    let forged = udp(Ends { source: "10.244.0.11", ..OUT });
    let forged6 = udp(Ends { source: "fd00:10:244::11", ..OUT_V6 });
    assert_eq!(rig.sent(&fragment(&forged)), Some(Reason::SpoofedSource));
    assert_eq!(rig.sent(&with_options(&forged)), Some(Reason::SpoofedSource));
    for tagged in [tagged(&forged), tagged(&forged6), tagged(&tagged(&forged))] {
        assert_eq!(rig.sent(&tagged), Some(Reason::EtherType), "Linux takes the tag away");
    }
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &[0; 38]].concat();
    assert_eq!(rig.sent(&tagged(&frame(0x0806, &arp))), Some(Reason::EtherType));
    assert_eq!(rig.received(&tagged(&forged)), None, "towards it nothing is done");
}

#[test]
fn s46_a_tunnel_is_found_behind_whatever_hides_it() {
    let mut rig = Rig::new(Isolated::Neither);
    rig.node_address("192.168.111.11", NodeKind::Other);
    rig.node_address("fd00::11", NodeKind::Other);
    let vxlan = udp(Ends { destination: "192.168.111.11", ..OUT }.at(8472));
    assert_eq!(rig.sent(&with_options(&vxlan)), Some(Reason::Tunnel));
    assert_eq!(rig.sent(&fragment(&vxlan)), Some(Reason::Tunnel));
    for group in ["255.255.255.255", "224.0.0.1"] {
        let to_all = udp(Ends { destination: group, ..OUT }.at(8472));
        assert_eq!(rig.sent(&to_all), Some(Reason::Tunnel), "{group}: nodes listen there too");
    }
    let inner = [0x60; 40];
    for protocol in [4, 41, 47] {
        for first in [0, 43, 60] {
            let behind = [&extension(protocol, 0)[..], &inner].concat();
            let hidden = ip(OUT_V6.source, OUT_V6.destination, 64, first, &behind);
            assert_eq!(rig.sent(&hidden), Some(Reason::Tunnel), "{protocol} behind {first}");
        }
        let deep = [&extension(44, 1)[..], &extension(51, 0), &[60, 2, 0, 0], &[0; 12]].concat();
        let deep = [&deep[..], &extension(protocol, 0), &inner].concat();
        let hidden = ip(OUT_V6.source, OUT_V6.destination, 64, 60, &deep);
        assert_eq!(rig.sent(&hidden), Some(Reason::Tunnel), "{protocol} behind four headers");
    }
    let vxlan = udp(Ends { destination: "fd00::11", ..OUT_V6 }.at(8472));
    let behind = [&extension(17, 0)[..], &vxlan[54..]].concat();
    let hidden = ip(OUT_V6.source, "fd00::11", 64, 60, &behind);
    assert_eq!(rig.sent(&hidden), Some(Reason::Tunnel));
}

#[test]
fn s46_more_extension_headers_than_are_walked_hide_too_much() {
    let mut rig = Rig::new(Isolated::Neither);
    let many = [extension(60, 0), extension(60, 0), extension(60, 0), extension(60, 0)].concat();
    let many = [&many[..], &extension(17, 0), &[0; 8]].concat();
    let packet = ip(OUT_V6.source, OUT_V6.destination, 64, 60, &many);
    assert_eq!(rig.sent(&packet), Some(Reason::ExtensionHeader));
    let cut = ip(OUT_V6.source, OUT_V6.destination, 64, 60, &[41, 0]);
    assert_eq!(rig.sent(&cut), Some(Reason::ExtensionHeader), "a header cut short");
}

#[test]
fn s46_no_reply_leads_into_a_tunnel() {
    let mut rig = Rig::new(Isolated::Egress);
    for protocol in [4, 41, 47] {
        let inbound = ip(OUT.destination, OUT.source, 64, protocol, &[0; 8]);
        assert_eq!(rig.received(&inbound), None);
        let outbound = ip(OUT.source, OUT.destination, 64, protocol, &[0; 8]);
        assert_eq!(rig.sent(&outbound), Some(Reason::Tunnel));
    }
}
