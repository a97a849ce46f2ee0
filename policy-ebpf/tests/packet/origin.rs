//! Where a packet to the pod really comes from.

use policy_common::{drops::Reason, endpoint::NodeKind};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, tcp, udp},
    rig::{Isolated, Rig, everything},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

#[test]
fn s37_a_process_of_the_node_reaches_the_pod_and_nobody_else_with_its_address() {
    for (ends, node) in [(OUT, "10.244.0.1"), (OUT_V6, "fd00:10:244::1")] {
        let mut rig = Rig::new(Isolated::Both);
        rig.node_address(node, NodeKind::Own);
        let probe = tcp(Ends { source: node, ..ends.back() }, Flags::Syn);
        assert_eq!(rig.received(&probe), DENIED, "forwarded after source translation");
        assert_eq!(rig.received_from_node(&probe), None, "from a process of the node");
        let answer = tcp(Ends { destination: node, ..ends }, Flags::SynAck);
        assert_eq!(rig.sent(&answer), None, "and gets its answer");
    }
}

#[test]
fn s37_a_local_process_must_have_an_address_of_this_node() {
    let mut rig = Rig::new(Isolated::Both);
    rig.node_address("192.168.111.11", NodeKind::Other);
    let other = udp(Ends { source: "192.168.111.11", ..OUT.back() });
    assert_eq!(rig.received_from_node(&other), DENIED, "the address of another node");
    assert_eq!(rig.received_from_node(&udp(OUT.back())), DENIED, "the address of a pod");
}

#[test]
fn s37_the_nodes_link_local_address_is_its_own() {
    let mut rig = Rig::new(Isolated::Both);
    for destination in [OUT_V6.source, "fe80::10"] {
        let probe = udp(Ends { source: "fe80::1", destination, ..OUT_V6.back() });
        assert_eq!(rig.received_from_node(&probe), None, "to {destination}");
    }
    rig.forget_flows();
    let forwarded = udp(Ends { source: "fe80::1", ..OUT_V6.back() });
    assert_eq!(rig.received(&forwarded), DENIED, "of another pod on the bridge");
    let flooded = udp(Ends { source: "fe80::1", destination: "fe80::10", ..OUT_V6.back() });
    assert_eq!(rig.received(&flooded), Some(Reason::NotForPod));
}

#[test]
fn s37_the_node_keeps_its_connection_through_a_change() {
    let mut rig = Rig::new(Isolated::Both);
    rig.node_address("10.244.0.1", NodeKind::Own);
    let ends = Ends { source: "10.244.0.1", ..OUT.back() };
    assert_eq!(rig.received_from_node(&tcp(ends, Flags::Syn)), None);
    rig.epoch(2);
    assert_eq!(rig.sent(&tcp(ends.back(), Flags::SynAck)), None);
}

#[test]
fn s38_the_pod_reaches_its_node_only_by_a_rule() {
    let mut rig = Rig::new(Isolated::Both);
    rig.node_address("10.244.0.1", NodeKind::Own);
    let kubelet = Ends { destination: "10.244.0.1", ..OUT }.at(10250);
    assert_eq!(rig.sent(&tcp(kubelet, Flags::Syn)), DENIED);
}

#[test]
fn s32_an_isolated_pod_gets_no_unicast_frame_of_another() {
    let flooded = udp(Ends { destination: "10.244.0.99", ..OUT.back() });
    let mut rig = Rig::new(Isolated::Ingress);
    rig.allow(&[everything(0)]);
    assert_eq!(rig.received(&flooded), Some(Reason::NotForPod));
    let mut rig = Rig::new(Isolated::Neither);
    assert_eq!(rig.received(&flooded), None);
}

#[test]
fn s35_multicast_needs_a_rule_by_address_and_makes_no_flow() {
    for group in ["224.0.0.251", "255.255.255.255"] {
        let to_pod = udp(Ends { destination: group, ..OUT.back() });
        let from_pod = udp(Ends { destination: group, ..OUT });
        let mut rig = Rig::new(Isolated::Both);
        assert_eq!(rig.received(&to_pod), DENIED);
        assert_eq!(rig.sent(&from_pod), DENIED);
        rig.allow(&[everything(0)]);
        assert_eq!(rig.received(&to_pod), None);
        assert_eq!(rig.sent(&from_pod), None);
        assert_eq!(rig.flows(), Default::default());
    }
}

#[test]
fn an_interface_of_no_known_pod_passes_unless_configured_otherwise() {
    let mut rig = Rig::new(Isolated::Both);
    rig.forget_endpoint();
    assert_eq!(rig.sent(&udp(OUT)), None);
    assert_eq!(rig.received(&udp(OUT_V6.back())), None);
    let mut rig = Rig::dropping_unknown();
    rig.forget_endpoint();
    assert_eq!(rig.sent(&udp(OUT)), Some(Reason::UnknownEndpoint));
    assert_eq!(rig.received(&udp(OUT_V6.back())), Some(Reason::UnknownEndpoint));
}
