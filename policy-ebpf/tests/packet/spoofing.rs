//! A pod cannot pretend to be another.

use policy_common::{
    drops::Reason,
    endpoint::{Endpoint, MAY_SPOOF, OTHER_NODE, OWN_NODE},
};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, PEER, ip, tcp, udp},
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
    rig.node_address("192.168.111.10", OWN_NODE);
    rig.node_address("192.168.111.11", OTHER_NODE);
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
        flags: MAY_SPOOF,
        address4: POD4,
        ..Endpoint::default()
    });
    assert_eq!(rig.sent(&udp(Ends { source: "10.244.0.11", ..OUT })), None);
    assert_eq!(rig.sent(&ip(OUT.source, OUT.destination, 64, 4, &[0; 20])), None);
}

#[test]
fn s46_fragments_and_options_do_not_hide_a_source() {
    let mut rig = Rig::new(Isolated::Neither);
    let mut fragment = udp(Ends { source: "10.244.0.11", ..OUT });
    fragment[14 + 6] = 0x20;
    assert_eq!(rig.sent(&fragment), Some(Reason::SpoofedSource));
}
