//! Verdicts of the model alone, on packets that the contract is plain about; needs no root.

use packet_model::addresses::{UPLINK, interface, ip};
use packet_model::frames::{self, PacketEnds, Shape, tcp};
use packet_model::model::{Answer, Direction, Event, Model};
use packet_model::protocol::{TCP, UDP};
use packet_model::world::{Peer, Pod, Ports, Rule, World};

/// Pod 0 may open TCP connections to port 80 of pod 2, and nobody may reach it.
fn world() -> World {
    let ports = Some(vec![Ports { protocol: TCP, ports: Some((80, 80)) }]);
    let to_80 = Rule { peer: Peer::Pod(2), ports };
    let isolated = Pod { ingress: Some(0), egress: Some(1), ..Pod::OPEN };
    World { policies: vec![vec![], vec![to_80]], pods: [isolated, Pod::OPEN] }
}

fn ends(protocol: u8, port: u16) -> PacketEnds {
    let (source, destination) = (ip("10.244.0.10"), ip("10.244.1.10"));
    PacketEnds { source, destination, source_port: 40_000, destination_port: port, protocol }
}

/// A packet of the pod, or back to it.
fn event(out: bool, ends: PacketEnds, flags: u8) -> Event {
    let (ends, direction, arrived_by) = if out {
        (ends, Direction::Egress, interface(0))
    } else {
        (ends.back(), Direction::Ingress, UPLINK)
    };
    let frame = frames::ip(&ends, &Shape::PLAIN, &frames::transport(&ends, flags, 4));
    Event { pod: 0, direction, arrived_by, mark: 0, frame }
}

#[test]
fn s02_s27_a_connection_needs_a_rule_and_its_replies_do_not() {
    let (world, mut model) = (world(), Model::default());
    let mut judge = |event: &Event| model.judge(&world, event);
    let denied = Answer::Drop("S2: no rule allows it");
    let web = ends(TCP, 80);
    assert_eq!(judge(&event(false, web, tcp::SYN | tcp::ACK)), denied);
    assert_eq!(judge(&event(true, ends(TCP, 81), tcp::SYN)), denied);
    assert_eq!(judge(&event(true, ends(UDP, 80), 0)), denied);
    assert_eq!(judge(&event(true, web, tcp::SYN)), Answer::Pass);
    assert_eq!(judge(&event(false, web, tcp::SYN | tcp::ACK)), Answer::Pass);
    assert_eq!(judge(&event(false, web, tcp::SYN)), denied);
}

#[test]
fn s27_a_silent_flow_dies() {
    let (world, mut model) = (world(), Model::default());
    let web = ends(TCP, 80);
    assert_eq!(model.judge(&world, &event(true, web, tcp::SYN)), Answer::Pass);
    model.age(119);
    let reply = event(false, web, tcp::SYN | tcp::ACK);
    assert_eq!(model.clone().judge(&world, &reply), Answer::Pass);
    model.age(2);
    assert_ne!(model.judge(&world, &reply), Answer::Pass);
}

#[test]
fn s29_what_is_no_longer_allowed_is_dropped_whichever_side_sends() {
    let (mut world, mut model) = (world(), Model::default());
    let web = ends(TCP, 80);
    assert_eq!(model.judge(&world, &event(true, web, tcp::SYN)), Answer::Pass);
    assert_eq!(model.judge(&world, &event(false, web, tcp::SYN | tcp::ACK)), Answer::Pass);
    world.policies[1].clear();
    let revoked = Answer::Drop("S29: no longer allowed");
    assert_eq!(model.judge(&world, &event(false, web, tcp::ACK)), revoked);
    assert_eq!(model.judge(&world, &event(true, web, tcp::ACK)), revoked);
}

#[test]
fn s46_a_foreign_source_and_a_tunnel_are_dropped() {
    let (mut world, mut model) = (world(), Model::default());
    world.pods[0] = Pod::OPEN;
    let mut verdict = |source, destination, port| {
        let (source, destination) = (ip(source), ip(destination));
        let ends = PacketEnds { source, destination, ..ends(UDP, port) };
        model.judge(&world, &event(true, ends, 0)) == Answer::Pass
    };
    assert!(verdict("10.244.0.10", "192.168.111.11", 53));
    assert!(!verdict("10.244.0.11", "192.168.111.11", 53));
    assert!(!verdict("10.244.0.10", "192.168.111.11", 8472));
    assert!(verdict("10.244.0.10", "10.244.1.10", 8472));
}
