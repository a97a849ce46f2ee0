//! Connections: what is a reply, what starts a connection, what a change does to live ones.

use policy_common::drops::Reason;

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, PEER, POD, TCP, UDP, icmp, sctp, tcp, udp},
    rig::{Isolated, Rig, everything, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

/// A rig where the pod may open TCP and UDP connections to port 80 of anybody.
fn egress_80(isolated: Isolated) -> Rig {
    let mut rig = Rig::new(isolated);
    rig.allow(&[ports(0, &[(TCP, 80, 80), (UDP, 80, 80), (132, 80, 80)])]);
    rig
}

#[test]
fn s02_an_isolated_pod_sends_and_gets_only_what_a_rule_allows() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None, "to port 80");
        assert_eq!(rig.sent(&tcp(ends.at(81), Flags::Syn)), DENIED, "to port 81");
        let inbound = Ends { source_port: 5000, ..ends.back() };
        assert_eq!(rig.received(&tcp(inbound.at(80), Flags::Syn)), None, "at port 80");
        assert_eq!(rig.received(&tcp(inbound.at(81), Flags::Syn)), DENIED, "at port 81");
    }
}

#[test]
fn s01_a_pod_that_nothing_isolates_sends_and_gets_everything_and_records_nothing() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Neither);
        assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None);
        assert_eq!(rig.received(&udp(ends.back())), None);
        assert_eq!(rig.flows(), Default::default());
    }
}

#[test]
fn s03_isolation_is_per_direction() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Ingress);
        assert_eq!(rig.sent(&udp(ends)), None, "egress is open");
        assert_eq!(rig.received(&udp(ends.back().at(99))), DENIED, "ingress is not");
        let mut rig = Rig::new(Isolated::Egress);
        assert_eq!(rig.sent(&udp(ends)), DENIED, "egress is not");
        assert_eq!(rig.received(&udp(ends.back().at(99))), None, "ingress is open");
    }
}

#[test]
fn s27_replies_pass_without_a_rule_in_both_directions() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        for (out, back) in [
            (tcp(ends, Flags::Syn), tcp(ends.back(), Flags::SynAck)),
            (udp(ends), udp(ends.back())),
            (sctp(ends, 1), sctp(ends.back(), 2)),
        ] {
            assert_eq!(rig.received(&back), DENIED, "nothing was asked yet");
            assert_eq!(rig.sent(&out), None);
            assert_eq!(rig.received(&back), None, "the reply");
            assert_eq!(rig.received(&back), None, "and one more");
        }
    }
}

#[test]
fn s27_a_connection_to_the_pod_gets_its_replies_out() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        let inbound = Ends { source_port: 5000, ..ends.back() }.at(80);
        let reply = tcp(inbound.back(), Flags::SynAck);
        assert_eq!(rig.sent(&reply), DENIED, "nothing was asked yet");
        assert_eq!(rig.received(&tcp(inbound, Flags::Syn)), None);
        assert_eq!(rig.sent(&reply), None);
    }
}

#[test]
fn s27_a_flow_moves_to_the_replied_ones_at_its_first_reply() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        rig.sent(&udp(ends));
        let (replied4, replied6, new4, new6) = rig.flows();
        assert_eq!((replied4.len() + replied6.len(), new4.len() + new6.len()), (0, 1));
        rig.received(&udp(ends.back()));
        let (replied4, replied6, new4, new6) = rig.flows();
        assert_eq!((replied4.len() + replied6.len(), new4.len() + new6.len()), (1, 0));
    }
}

#[test]
fn s27_a_denied_packet_makes_no_flow() {
    let mut rig = egress_80(Isolated::Both);
    assert_eq!(rig.sent(&udp(OUT.at(81))), DENIED);
    assert_eq!(rig.flows(), Default::default());
}

#[test]
fn s27_a_syn_from_the_far_end_is_a_new_connection_even_on_a_living_flow() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        rig.sent(&tcp(ends, Flags::Syn));
        rig.received(&tcp(ends.back(), Flags::SynAck));
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Syn)), DENIED);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Ack)), None, "the flow lives on");
    }
}

#[test]
fn s27_an_init_from_the_far_end_is_a_new_association() {
    let mut rig = egress_80(Isolated::Both);
    rig.sent(&sctp(OUT, 1));
    assert_eq!(rig.received(&sctp(OUT.back(), 2)), None);
    assert_eq!(rig.received(&sctp(OUT.back(), 1)), DENIED);
}

#[test]
fn s28_a_flow_of_another_interface_is_none_of_this_pod() {
    let mut rig = egress_80(Isolated::Both);
    rig.sent(&udp(OUT));
    rig.move_flows(99);
    assert_eq!(rig.received(&udp(OUT.back())), DENIED);
}

#[test]
fn s29_a_live_connection_is_judged_again_after_a_change() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        rig.sent(&tcp(ends, Flags::Syn));
        rig.received(&tcp(ends.back(), Flags::SynAck));
        rig.allow(&[ports(0, &[(TCP, 443, 443)])]);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Ack)), None, "no epoch, no change yet");
        rig.epoch(2);
        let revoked = Some(Reason::Revoked);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Ack)), revoked, "the server pushes on");
        assert_eq!(rig.sent(&tcp(ends, Flags::Ack)), revoked, "nor does the pod get through");
        rig.allow(&[ports(0, &[(TCP, 80, 80)])]);
        rig.epoch(3);
        assert_eq!(rig.sent(&tcp(ends, Flags::Ack)), None, "allowed again");
    }
}

#[test]
fn s29_a_connection_is_judged_again_as_one_of_its_initiator() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Both);
        rig.sent(&tcp(ends, Flags::Syn));
        rig.received(&tcp(ends.back(), Flags::SynAck));
        rig.epoch(2);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Ack)), None, "by the pod's egress rules");
    }
}

#[test]
fn s29_a_denied_flow_does_not_turn_around() {
    let mut rig = egress_80(Isolated::Ingress);
    let inbound = Ends { source: PEER, destination: POD, source_port: 5000, destination_port: 80 };
    assert_eq!(rig.received(&tcp(inbound, Flags::Syn)), None);
    assert_eq!(rig.sent(&tcp(inbound.back(), Flags::SynAck)), None);
    rig.allow(&[]);
    rig.epoch(2);
    for _ in 0..3 {
        let push = tcp(inbound.back(), Flags::Ack);
        assert_eq!(rig.sent(&push), Some(Reason::Revoked), "egress is open, yet no new flow");
    }
}

#[test]
fn s31_ping_passes_by_a_rule_without_ports_and_its_reply_without_one() {
    for (ends, request, reply) in [(OUT, 8, 0), (OUT_V6, 128, 129)] {
        let ask = icmp(ends.source, ends.destination, request, &[0x12, 0x34, 0, 1]);
        let answer = icmp(ends.destination, ends.source, reply, &[0x12, 0x34, 0, 1]);
        let ask_back = icmp(ends.destination, ends.source, request, &[0x12, 0x34, 0, 1]);
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[ports(0, &[(TCP, 0, 65535), (UDP, 0, 65535)])]);
        assert_eq!(rig.sent(&ask), DENIED, "ports are not ICMP");
        rig.allow(&[everything(0)]);
        assert_eq!(rig.sent(&ask), None);
        rig.allow(&[]);
        assert_eq!(rig.received(&answer), None, "the reply is one of a known flow");
        assert_eq!(rig.received(&ask_back), DENIED, "a request never is a reply");
    }
}

#[test]
fn s27_a_timestamp_reply_is_a_reply_and_a_redirect_never_is() {
    let mut rig = Rig::new(Isolated::Ingress);
    let identifier = [0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (request, reply) in [(13, 14), (15, 16), (17, 18)] {
        let answer = icmp(OUT.destination, OUT.source, reply, &identifier);
        assert_eq!(rig.received(&answer), DENIED, "{reply} unasked");
        assert_eq!(rig.sent(&icmp(OUT.source, OUT.destination, request, &identifier)), None);
        assert_eq!(rig.received(&answer), None, "{reply} asked for");
        rig.forget_flows();
    }
    for kind in [5, 9, 10] {
        assert_eq!(rig.sent(&icmp(OUT.source, OUT.destination, kind, &[0; 12])), None);
        let back = icmp(OUT.destination, OUT.source, kind, &[0; 12]);
        assert_eq!(rig.received(&back), DENIED, "type {kind} answers nothing");
    }
}

#[test]
fn s27_a_syn_ack_begins_nothing_that_no_rule_allows() {
    let mut rig = Rig::new(Isolated::Both);
    assert_eq!(rig.received(&tcp(OUT.back(), Flags::SynAck)), DENIED);
    assert_eq!(rig.sent(&tcp(OUT, Flags::SynAck)), DENIED);
}

#[test]
fn s29_a_reset_that_is_dropped_itself_ends_nothing() {
    for ends in [OUT, OUT_V6] {
        let mut rig = egress_80(Isolated::Egress);
        assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::SynAck)), None);
        assert_eq!(rig.sent(&tcp(ends, Flags::Ack)), None);
        rig.allow(&[]);
        rig.epoch(2);
        let revoked = Some(Reason::Revoked);
        assert_eq!(rig.sent(&tcp(ends, Flags::Ack)), revoked);
        assert_eq!(rig.sent(&tcp(ends, Flags::Rst)), revoked);
        // Longer than a flow lives that was reset.
        rig.age(200);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Ack)), revoked, "the far end goes on");
    }
}

#[test]
fn s27_who_sends_in_the_middle_does_not_choose_who_opened() {
    for ends in [OUT, OUT_V6] {
        let packet = tcp(ends, Flags::Ack);
        let answer = tcp(ends.back(), Flags::Ack);
        let mut rig = Rig::new(Isolated::Both);
        // To port 80 of the far end the pod may open a connection; the far end none to the pod.
        rig.allow(&[ports(0, &[(TCP, 80, 80)])]);
        assert_eq!(rig.sent(&packet), DENIED);
        assert_eq!(rig.received(&answer), DENIED);
        // Both might have opened it.
        rig.allow(&[everything(0)]);
        assert_eq!(rig.sent(&packet), None);
        assert_eq!(rig.received(&answer), None);
        // One of them no longer: which it was, nobody knows.
        rig.allow(&[ports(0, &[(TCP, 80, 80)])]);
        rig.epoch(2);
        assert_eq!(rig.sent(&packet), Some(Reason::Revoked));
    }
}
