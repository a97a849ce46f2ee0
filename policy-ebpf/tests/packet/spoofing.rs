//! A pod cannot pretend to be another.

use policy_common::{
    drops::Reason,
    endpoint::{Endpoint, NodeKind, flags},
};

use crate::{
    craft::{
        Ends, Flags, OUT, OUT_V6, PEER, PEER_V6, behind, fragment, fragments, frame, ip, long_udp,
        tagged, tcp, udp, with_options, with_these_options,
    },
    rig::{IFINDEX, Isolated, POD4, Rig, SLOT, everything},
};

#[test]
fn s46_a_foreign_source_is_dropped_isolated_or_not() {
    for isolated in [Isolated::Neither, Isolated::Ingress, Isolated::Egress, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        rig.allow(&[everything(0)]);
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
    for isolated in [Isolated::Neither, Isolated::Both] {
        let mut rig = Rig::new(isolated);
        rig.allow(&[everything(0)]);
        rig.node_address("192.168.111.10", NodeKind::Own);
        rig.pod(PEER);
        rig.pod(PEER_V6);
        for (ends, to) in [
            (OUT, ["192.168.111.10", "192.0.2.7", "224.0.0.1", "255.255.255.255"]),
            (OUT_V6, ["fd00::11", "2001:db8::7", "ff02::1", "fe80::1"]),
        ] {
            for destination in to {
                for port in [4789, 8472, 6081, 6784] {
                    let ends = Ends { destination, ..ends };
                    assert_eq!(rig.sent(&udp(ends.at(port))), Some(Reason::Tunnel), "{port}");
                    assert_eq!(rig.sent(&tcp(ends.at(port), Flags::Syn)), None, "TCP is none");
                }
                for protocol in [4, 41, 47] {
                    let frame = ip(ends.source, destination, 64, protocol, &[0x60; 40]);
                    assert_eq!(rig.sent(&frame), Some(Reason::Tunnel), "protocol {protocol}");
                }
            }
            assert_eq!(rig.sent(&udp(ends.at(8472))), None, "to a pod");
            let inner = ip(ends.source, ends.destination, 64, 4, &[0x60; 40]);
            assert_eq!(rig.sent(&inner), None, "to a pod");
        }
    }
}

#[test]
fn s46_the_node_says_which_ports_are_tunnels() {
    let mut rig = Rig::new(Isolated::Neither);
    let node = Ends { destination: "192.0.2.7", ..OUT }.at(51_000);
    assert_eq!(rig.sent(&udp(node)), None);
    rig.put("tunnel_ports", 51_000_u32, 1_u32);
    assert_eq!(rig.sent(&udp(node)), Some(Reason::Tunnel));
}

#[test]
fn s46_nothing_is_dropped_on_suspicion() {
    let mut rig = Rig::new(Isolated::Neither);
    for (ends, to) in [(OUT, ["192.0.2.7", "239.1.2.3"]), (OUT_V6, ["2001:db8::7", "ff05::3"])] {
        for destination in to {
            let long = long_udp(Ends { destination, ..ends }, 2000);
            for part in fragments(&long, 9, 1000) {
                assert_eq!(rig.sent(&part), None, "a fragment to {destination}");
            }
        }
    }
    let alert = with_these_options(&udp(Ends { destination: "192.0.2.7", ..OUT }), &[148, 4, 0, 0]);
    assert_eq!(rig.sent(&alert), None);
    for (ends, node) in [(OUT, "192.168.111.11"), (OUT_V6, "fd00::11")] {
        rig.node_address(node, NodeKind::Other);
        let cut = ip(ends.source, node, 64, 17, &[0x9c, 0x40, 0x21]);
        assert_eq!(rig.sent(&cut), None, "a UDP header cut short");
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
    let vxlan = long_udp(Ends { destination: "192.168.111.11", ..OUT }.at(8472), 1000);
    assert_eq!(rig.sent(&with_options(&vxlan)), Some(Reason::Tunnel));
    assert_eq!(rig.sent(&fragments(&vxlan, 1, 8)[0]), Some(Reason::Tunnel));
    let vxlan = long_udp(Ends { destination: "fd00::11", ..OUT_V6 }.at(8472), 1000);
    assert_eq!(rig.sent(&fragments(&vxlan, 1, 8)[0]), Some(Reason::Tunnel));
    let inner = |protocol| ip(OUT_V6.source, OUT_V6.destination, 64, protocol, &[0x60; 40]);
    for headers in [&[0][..], &[43], &[60], &[51], &[44], &[60, 44, 51, 60], &[0, 60, 43, 60, 51]] {
        let vxlan = udp(Ends { destination: "fd00::11", ..OUT_V6 }.at(8472));
        assert_eq!(rig.sent(&behind(&vxlan, headers)), Some(Reason::Tunnel), "{headers:?}");
        for protocol in [4, 41, 47] {
            let hidden = behind(&inner(protocol), headers);
            assert_eq!(rig.sent(&hidden), Some(Reason::Tunnel), "{protocol} in {headers:?}");
        }
    }
}

#[test]
fn s46_a_source_route_hides_no_tunnel() {
    let mut rig = Rig::new(Isolated::Neither);
    rig.pod(PEER);
    rig.pod(PEER_V6);
    // Whom the route leads to in the end is not looked for.
    let route = [131, 7, 4, 192, 168, 111, 11, 0];
    assert_eq!(rig.sent(&with_these_options(&udp(OUT.at(8472)), &route)), Some(Reason::Tunnel));
    assert_eq!(rig.sent(&with_these_options(&udp(OUT), &route)), None, "another port");
    let mut routed = behind(&udp(OUT_V6.at(8472)), &[43]);
    assert_eq!(rig.sent(&routed), None, "no segments left: it goes to a pod");
    routed[57] = 1;
    assert_eq!(rig.sent(&routed), Some(Reason::Tunnel));
}

#[test]
fn s46_more_extension_headers_than_are_walked_hide_too_much() {
    let mut rig = Rig::new(Isolated::Neither);
    assert_eq!(rig.sent(&behind(&udp(OUT_V6), &[60; 8])), None, "eight are walked");
    assert_eq!(rig.sent(&behind(&udp(OUT_V6), &[60; 9])), Some(Reason::ExtensionHeader));
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
