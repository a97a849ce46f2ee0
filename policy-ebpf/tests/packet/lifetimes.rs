//! How long a silent flow lives: as long as `nf_conntrack`'s entry, in every state.

use policy_common::{drops::Reason, endpoint::CLOSED, flow::Lifetimes};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, SCTP, TCP, UDP, icmp, ip, sctp, tcp, tcp_at, udp},
    rig::{ALLOW_MAP, Isolated, Rig, everything, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);
const LIVES: Lifetimes = Lifetimes::DEFAULT;

/// A packet of a conversation, or a pause.
enum Event {
    Out(Vec<u8>),
    Back(Vec<u8>),
    Pause(u64),
}
use Event::{Back, Out, Pause};

/// An established connection of the pod, in TCP.
fn established(ends: Ends<'_>) -> Vec<Event> {
    vec![
        Out(tcp(ends, Flags::Syn)),
        Back(tcp(ends.back(), Flags::SynAck)),
        Out(tcp(ends, Flags::Ack)),
    ]
}

/// As `established`, and then some events.
fn then(ends: Ends<'_>, last: impl IntoIterator<Item = Event>) -> Vec<Event> {
    established(ends).into_iter().chain(last).collect()
}

/// A rig whose pod may send everything and receive nothing but replies.
fn rig() -> Rig {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[everything(0)]);
    rig.isolate_by(CLOSED, ALLOW_MAP);
    rig
}

/// Sends the packets of a conversation, all of which must pass, to a rig without flows.
fn play(rig: &mut Rig, events: &[Event]) {
    rig.forget_flows();
    for event in events {
        match event {
            Out(frame) => assert_eq!(rig.sent(frame), None),
            Back(frame) => assert_eq!(rig.received(frame), None),
            Pause(seconds) => rig.age(*seconds),
        }
    }
}

/// Claim, conversation, packet of the far end that asks whether the flow lives, seconds.
type Case = (&'static str, Vec<Event>, Vec<u8>, u32);

fn cases(ends: Ends<'_>) -> Vec<Case> {
    let back = ends.back();
    let answer = || Back(udp(back));
    let (request, reply) = if ends.source.contains(':') { (128, 129) } else { (8, 0) };
    let question = icmp(ends.source, ends.destination, request, &[0, 7, 0, 1]);
    let echo = icmp(ends.destination, ends.source, reply, &[0, 7, 0, 1]);
    let other = |ends: Ends<'_>| ip(ends.source, ends.destination, 64, 99, &[0; 8]);
    let data = tcp(back, Flags::Ack);
    #[rustfmt::skip]
    let cases = vec![
        ("UDP, a question",          vec![Out(udp(ends))],                               udp(back), LIVES.udp),
        ("UDP, an answer",           vec![Out(udp(ends)), answer()],                     udp(back), LIVES.udp),
        ("UDP, answers at once",     vec![Out(udp(ends)), answer(), answer()],           udp(back), LIVES.udp),
        ("UDP, a stream",            vec![Out(udp(ends)), answer(), Pause(4), answer()], udp(back), LIVES.udp_stream),
        ("TCP, a SYN",               vec![Out(tcp(ends, Flags::Syn))],                   tcp(back, Flags::SynAck), LIVES.tcp_syn_sent),
        ("TCP, a SYN ACK",           vec![Out(tcp(ends, Flags::Syn)), Back(tcp(back, Flags::SynAck))], data.clone(), LIVES.tcp_syn_recv),
        ("TCP, established",         established(ends),                                  data.clone(), LIVES.tcp_established),
        ("TCP, closed by the pod",   then(ends, [Out(tcp(ends, Flags::Fin))]),           data.clone(), LIVES.tcp_close_wait),
        ("TCP, closed by the other", then(ends, [Back(tcp(back, Flags::Fin))]),          data.clone(), LIVES.tcp_close_wait),
        ("TCP, closed by both",      then(ends, [Back(tcp(back, Flags::Fin)), Out(tcp(ends, Flags::Fin))]), data.clone(), LIVES.tcp_last_ack),
        ("TCP, reset by the pod",    then(ends, [Out(tcp(ends, Flags::Rst))]),           data.clone(), LIVES.tcp_close),
        ("TCP, reset by the other",  then(ends, [Back(tcp(back, Flags::Rst))]),          data, LIVES.tcp_close),
        ("SCTP, an INIT",            vec![Out(sctp(ends, 1))],                           sctp(back, 2), LIVES.sctp_cookie_wait),
        ("SCTP, an INIT ACK",        vec![Out(sctp(ends, 1)), Back(sctp(back, 2))],      sctp(back, 0), LIVES.sctp_cookie_wait),
        ("SCTP, established",        vec![Out(sctp(ends, 1)), Back(sctp(back, 2)), Out(sctp(ends, 10))], sctp(back, 0), LIVES.sctp_established),
        ("SCTP, a SHUTDOWN",         vec![Out(sctp(ends, 1)), Back(sctp(back, 2)), Out(sctp(ends, 10)), Back(sctp(back, 7))], sctp(back, 0), LIVES.sctp_shutdown),
        ("a ping",                   vec![Out(question)],                                echo, LIVES.icmp),
        ("another protocol",         vec![Out(other(ends))],                             other(back), LIVES.generic),
    ];
    cases
}

#[test]
fn s27_a_silent_flow_lives_as_long_as_in_nf_conntrack() {
    for ends in [OUT, OUT_V6] {
        let mut rig = rig();
        for (claim, events, probe, life) in cases(ends) {
            play(&mut rig, &events);
            rig.age(u64::from(life) - 1);
            assert_eq!(rig.received(&probe), None, "{claim}: {life} s are not over");
            play(&mut rig, &events);
            rig.age(u64::from(life) + 1);
            assert_eq!(rig.received(&probe), Some(Reason::MissingAllowMap), "{claim}: {life} s");
        }
    }
}

#[test]
fn s27_each_packet_that_passes_starts_the_life_of_a_flow_again() {
    for ends in [OUT, OUT_V6] {
        let mut rig = rig();
        play(&mut rig, &[Out(udp(ends))]);
        for _ in 0..4 {
            rig.age(20);
            assert_eq!(rig.sent(&udp(ends)), None);
        }
        rig.age(20);
        assert_eq!(rig.received(&udp(ends.back())), None);
    }
}

#[test]
fn s27_a_dropped_packet_prolongs_no_flow() {
    for ends in [OUT, OUT_V6] {
        let mut rig = rig();
        play(&mut rig, &established(ends));
        rig.allow(&[]);
        rig.epoch(2);
        let life = u64::from(LIVES.tcp_established);
        rig.age(life / 2);
        let packet = (tcp(ends, Flags::Ack), tcp(ends.back(), Flags::Ack));
        assert_eq!(rig.sent(&packet.0), Some(Reason::Revoked));
        assert_eq!(rig.received(&packet.1), Some(Reason::Revoked));
        rig.age(life / 2 + 1);
        assert_eq!(rig.sent(&packet.0), DENIED, "the flow is gone");
    }
}

#[test]
fn s27_a_reset_or_fin_outside_of_the_window_ends_nothing() {
    let far = 1 << 30;
    for ends in [OUT, OUT_V6] {
        let mut rig = rig();
        for flags in [Flags::Rst, Flags::Fin] {
            let probe = tcp(ends.back(), Flags::Ack);
            for stray in [
                Out(tcp_at(ends, flags, far)),
                Back(tcp_at(ends.back(), flags, far)),
                Back(tcp_at(ends.back(), flags, 1_u32.wrapping_sub(far))),
            ] {
                play(&mut rig, &then(ends, [stray]));
                rig.age(3600);
                assert_eq!(rig.received(&probe), None, "it is open");
            }
        }
    }
}

#[test]
fn s27_the_window_follows_the_connection() {
    for ends in [OUT, OUT_V6] {
        // 64 MiB in packets of 2 MiB: more than the window is wide.
        let sent = (1..=32).map(|step| Out(tcp_at(ends, Flags::Ack, step << 21)));
        let got = (1..=32).map(|step| Back(tcp_at(ends.back(), Flags::Ack, step << 21)));
        let events = then(ends, (1..=32).map(|step| Out(tcp_at(ends, Flags::Ack, step << 21))));
        let probe = tcp(ends.back(), Flags::Ack);
        let mut rig = rig();
        play(&mut rig, &events);
        assert_eq!(rig.sent(&tcp(ends, Flags::Rst)), None);
        rig.age(3600);
        assert_eq!(rig.received(&probe), None, "a number from long ago");
        for (events, reset) in [
            (then(ends, sent), Out(tcp_at(ends, Flags::Rst, 32 << 21))),
            (then(ends, got), Back(tcp_at(ends.back(), Flags::Rst, 32 << 21))),
        ] {
            play(&mut rig, &events.into_iter().chain([reset]).collect::<Vec<_>>());
            rig.age(u64::from(LIVES.tcp_close) + 1);
            assert_eq!(rig.received(&probe), Some(Reason::MissingAllowMap), "the number of now");
        }
    }
}

#[test]
fn s27_a_packet_after_its_flow_has_expired_needs_a_rule() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[ports(0, &[(TCP, 80, 80), (UDP, 80, 80), (SCTP, 80, 80)])]);
        rig.sent(&udp(ends));
        rig.received(&udp(ends.back()));
        rig.age(31);
        assert_eq!(rig.received(&udp(ends.back())), DENIED);
        assert_eq!(rig.sent(&udp(ends)), None, "and starts again where a rule allows it");
        assert_eq!(rig.received(&udp(ends.back())), None);
    }
}
