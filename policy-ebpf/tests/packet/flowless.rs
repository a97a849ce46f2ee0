//! What no flow may let through: ICMP without an identifier, answers into tunnels, foreign sources.

use policy_common::{
    drops::Reason,
    endpoint::{Endpoint, flags},
};

use crate::{
    craft::{Ends, OUT, OUT_V6, PEER, PEER_V6, icmp, udp},
    rig::{ALLOW_MAP, IFINDEX, Isolated, POD4, POD6, Rig, SLOT, everything},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

/// ICMP types without an identifier, each with a code.
fn notices(ends: Ends<'_>) -> &'static [[u8; 2]] {
    if ends.source.contains(':') {
        &[[1, 0], [1, 4], [2, 0], [3, 0], [4, 1], [127, 0], [200, 7]]
    } else {
        &[[3, 3], [3, 1], [4, 0], [5, 1], [11, 0], [12, 0], [40, 2]]
    }
}

/// An echo request with an identifier.
fn echo(ends: Ends<'_>, identifier: [u8; 2]) -> Vec<u8> {
    let kind = if ends.source.contains(':') { 128 } else { 8 };
    icmp(ends.source, ends.destination, kind, &[&identifier[..], &[0, 1]].concat())
}

/// A message with a code, which quotes nothing.
fn notice(ends: Ends<'_>, [kind, code]: [u8; 2]) -> Vec<u8> {
    let mut frame = icmp(ends.source, ends.destination, kind, &[0; 4]);
    let at = frame.len() - 7;
    frame[at] = code;
    frame
}

#[test]
fn s31_a_message_without_an_identifier_belongs_to_no_echo_flow() {
    for ends in [OUT, OUT_V6] {
        for message in notices(ends) {
            let mut rig = Rig::new(Isolated::Both);
            rig.allow(&[everything(0)]);
            assert_eq!(rig.sent(&echo(ends, *message)), None);
            rig.allow(&[]);
            assert_eq!(rig.received(&notice(ends.back(), *message)), DENIED, "{message:?} in");
            assert_eq!(rig.sent(&notice(ends, *message)), DENIED, "{message:?} out");
            let mut rig = Rig::new(Isolated::Both);
            rig.allow(&[everything(0)]);
            assert_eq!(rig.received(&echo(ends.back(), *message)), None);
            rig.allow(&[]);
            assert_eq!(
                rig.sent(&notice(ends, *message)),
                DENIED,
                "{message:?} out, asked from far"
            );
        }
    }
}

#[test]
fn s31_a_message_without_an_identifier_passes_by_a_rule_each_time_and_leaves_no_flow() {
    for ends in [OUT, OUT_V6] {
        for message in notices(ends) {
            let mut rig = Rig::new(Isolated::Both);
            rig.allow(&[everything(0)]);
            assert_eq!(rig.sent(&notice(ends, *message)), None);
            assert_eq!(rig.received(&notice(ends.back(), *message)), None);
            assert_eq!(rig.flows(), Default::default());
        }
    }
}

#[test]
fn s46_a_pod_does_not_answer_into_a_tunnel() {
    for (ends, node) in [(OUT, "192.0.2.9"), (OUT_V6, "2001:db8::9")] {
        for port in [4789, 8472, 6081, 6784] {
            let inbound = Ends {
                source: node,
                destination: ends.source,
                source_port: port,
                destination_port: 443,
            };
            let mut rig = Rig::new(Isolated::Both);
            rig.allow(&[everything(0)]);
            for _ in 0..2 {
                assert_eq!(rig.received(&udp(inbound)), None, "by a rule, each time");
            }
            assert_eq!(rig.sent(&udp(inbound.back())), Some(Reason::Tunnel), "{port}");
        }
    }
}

#[test]
fn s27_a_pod_answers_another_pods_tunnel_without_a_rule() {
    for (ends, peer) in [(OUT, PEER), (OUT_V6, PEER_V6)] {
        let mut rig = Rig::new(Isolated::Ingress);
        rig.pod(peer);
        rig.allow(&[everything(0)]);
        let inbound = Ends { source_port: 8472, ..ends.back() }.at(443);
        assert_eq!(rig.received(&udp(inbound)), None);
        rig.isolate_by(ALLOW_MAP, policy_common::endpoint::CLOSED);
        assert_eq!(rig.sent(&udp(inbound.back())), None, "a reply");
    }
}

/// The endpoint, isolated for egress, with or without the opt-out.
fn with_flags(rig: &mut Rig, flags: u32) {
    rig.endpoint(Endpoint {
        ifindex: IFINDEX,
        slot: SLOT,
        egress: ALLOW_MAP,
        flags,
        address4: POD4,
        address6: POD6,
        ..Endpoint::default()
    });
}

#[test]
fn s46_flows_of_a_foreign_source_end_with_the_opt_out() {
    for (ends, source) in [(OUT, "10.244.0.99"), (OUT_V6, "fd00:10:244::99")] {
        let foreign = Ends { source, ..ends };
        let mut rig = Rig::new(Isolated::Egress);
        rig.allow(&[everything(0)]);
        with_flags(&mut rig, flags::MAY_SPOOF);
        assert_eq!(rig.sent(&udp(foreign)), None);
        assert_eq!(rig.received(&udp(foreign.back())), None, "and its answer");
        with_flags(&mut rig, 0);
        rig.epoch(2);
        for _ in 0..2 {
            assert_eq!(rig.sent(&udp(foreign)), Some(Reason::SpoofedSource));
            assert_eq!(rig.received(&udp(foreign.back())), Some(Reason::NotForPod));
        }
    }
}

#[test]
fn s46_flows_into_a_tunnel_end_with_the_opt_out() {
    for (ends, node) in [(OUT, "192.0.2.9"), (OUT_V6, "2001:db8::9")] {
        let tunnel = Ends { destination: node, ..ends }.at(4789);
        let mut rig = Rig::new(Isolated::Egress);
        rig.allow(&[everything(0)]);
        with_flags(&mut rig, flags::MAY_SPOOF);
        assert_eq!(rig.sent(&udp(tunnel)), None);
        with_flags(&mut rig, 0);
        rig.epoch(2);
        assert_eq!(rig.sent(&udp(tunnel)), Some(Reason::Tunnel));
    }
}

#[test]
fn s46_a_pod_that_routes_gets_what_is_for_addresses_behind_it_by_its_rules() {
    for (ends, behind) in [(OUT, "10.9.0.7"), (OUT_V6, "fd00:9::7")] {
        let inbound = Ends { destination: behind, ..ends.back() };
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[everything(0)]);
        assert_eq!(rig.received(&udp(inbound)), Some(Reason::NotForPod));
        rig.endpoint(Endpoint {
            ifindex: IFINDEX,
            slot: SLOT,
            ingress: ALLOW_MAP,
            flags: flags::MAY_SPOOF,
            address4: POD4,
            address6: POD6,
            ..Endpoint::default()
        });
        assert_eq!(rig.received(&udp(inbound)), None);
        rig.allow(&[]);
        rig.epoch(2);
        assert_eq!(rig.received(&udp(inbound.at(81))), DENIED);
    }
}
