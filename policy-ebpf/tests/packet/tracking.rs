//! A pod that is about to be isolated: everything passes, and what begins is recorded (S30).

use policy_common::drops::Reason;

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, TCP, UDP, fragment, frame, tcp, udp},
    rig::{Isolated, Rig, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

/// A rig where nothing isolates the pod yet, and where it may reach port 80 once something does.
fn soon_isolated() -> Rig {
    let mut rig = Rig::new(Isolated::NotYet);
    rig.allow(&[ports(0, &[(TCP, 80, 80), (UDP, 80, 80)])]);
    rig
}

/// Isolates the pod, as the last steps of a plan do.
fn isolate(rig: &mut Rig) {
    rig.isolate(Isolated::Both);
    rig.epoch(2);
}

#[test]
fn s30_until_it_is_isolated_everything_passes() {
    for ends in [OUT, OUT_V6] {
        let mut rig = soon_isolated();
        for packet in [tcp(ends, Flags::Syn), udp(ends.at(99)), fragment(&udp(ends))] {
            assert_eq!(rig.sent(&packet), None);
        }
        assert_eq!(rig.received(&udp(ends.back().at(99))), None);
        assert_eq!(rig.received(&frame(0x88cc, &[0; 50])), None, "what is not IP");
    }
}

#[test]
fn s30_a_connection_that_begins_meanwhile_lives_on_where_it_is_allowed() {
    for ends in [OUT, OUT_V6] {
        for (out, back) in [
            (tcp(ends, Flags::Syn), tcp(ends.back(), Flags::SynAck)),
            (udp(ends), udp(ends.back())),
        ] {
            let mut rig = soon_isolated();
            assert_eq!(rig.sent(&out), None);
            isolate(&mut rig);
            assert_eq!(rig.received(&back), None, "the reply of a connection that is allowed");
        }
        let mut rig = soon_isolated();
        let denied = ends.at(81);
        assert_eq!(rig.sent(&tcp(denied, Flags::Syn)), None);
        isolate(&mut rig);
        let reply = rig.received(&tcp(denied.back(), Flags::SynAck));
        assert_eq!(reply, Some(Reason::Revoked), "the reply of one that is not");
    }
}

#[test]
fn s30_a_packet_in_the_middle_says_nothing_of_who_began() {
    for ends in [OUT, OUT_V6] {
        let mut rig = soon_isolated();
        // To a port of the pod that no rule opens, from a port that a rule would let it reach.
        let inbound = Ends { source_port: 80, ..ends.back() };
        assert_eq!(rig.received(&tcp(inbound, Flags::Ack)), None);
        assert_eq!(rig.sent(&tcp(inbound.back(), Flags::Ack)), None);
        assert_eq!(rig.flows(), Default::default());
        isolate(&mut rig);
        assert_eq!(rig.received(&tcp(inbound, Flags::Ack)), DENIED);
    }
}
