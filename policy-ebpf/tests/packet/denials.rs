//! Flows that a change denies, of protocols that do not show how a connection starts.

use policy_common::{drops::Reason, endpoint::CLOSED};

use crate::{
    craft::{Ends, OUT, OUT_V6, UDP, udp},
    rig::{ALLOW_MAP, Isolated, Rig, Verdict, ports},
};

const REVOKED: Option<Reason> = Some(Reason::Revoked);
const PORT: u16 = 7946;

/// The same port on both sides.
fn gossip(ends: Ends<'_>) -> Ends<'_> {
    Ends { source_port: PORT, destination_port: PORT, ..ends }
}

/// A pod, and a far end with the same port: whichever speaks first, the other answers.
struct Gossip {
    rig: Rig,
    out: Vec<u8>,
    back: Vec<u8>,
    /// The pod speaks first.
    pod_starts: bool,
}

impl Gossip {
    fn new(ends: Ends<'_>, pod_starts: bool) -> Self {
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[ports(0, &[(UDP, PORT, PORT)])]);
        let (out, back) = (udp(gossip(ends)), udp(gossip(ends).back()));
        let mut gossip = Self { rig, out, back, pod_starts };
        assert_eq!((gossip.first(), gossip.second()), (None, None));
        // By now a stream, which would live longer than an unreplied flow.
        gossip.rig.age(4);
        assert_eq!((gossip.first(), gossip.second()), (None, None));
        gossip
    }

    /// A packet of the end that spoke first.
    fn first(&mut self) -> Verdict {
        if self.pod_starts { self.rig.sent(&self.out) } else { self.rig.received(&self.back) }
    }

    /// A packet of the end that answered.
    fn second(&mut self) -> Verdict {
        if self.pod_starts { self.rig.received(&self.back) } else { self.rig.sent(&self.out) }
    }

    /// Denies the first end; the second end's direction gets this allow map.
    fn deny_first(&mut self, second: u32) {
        let (ingress, egress) = if self.pod_starts { (second, CLOSED) } else { (CLOSED, second) };
        self.rig.isolate_by(ingress, egress);
        self.rig.epoch(2);
    }
}

fn all() -> impl Iterator<Item = Gossip> {
    [OUT, OUT_V6].into_iter().flat_map(|ends| [false, true].map(|pod| Gossip::new(ends, pod)))
}

#[test]
fn s29_the_other_end_takes_the_flow_over_where_a_rule_allows_its_own_connection() {
    for mut gossip in all() {
        gossip.deny_first(ALLOW_MAP);
        assert_eq!(gossip.first(), REVOKED);
        assert_eq!(gossip.second(), None, "a connection of its own");
        for _ in 0..3 {
            gossip.rig.age(20);
            assert_eq!(gossip.first(), None, "a reply by now");
            assert_eq!(gossip.second(), None);
        }
    }
}

#[test]
fn s29_where_nothing_isolates_the_other_end_it_passes_and_the_first_stays_denied() {
    for mut gossip in all() {
        gossip.deny_first(0);
        for _ in 0..4 {
            assert_eq!(gossip.first(), REVOKED);
            gossip.rig.age(20);
            assert_eq!(gossip.second(), None, "nothing isolates it");
        }
        assert_eq!(gossip.first(), REVOKED, "it was never silent for 30 s");
        gossip.rig.age(31);
        assert_eq!(gossip.second(), None, "a new connection");
        assert_eq!(gossip.first(), None, "and its reply");
    }
}

#[test]
fn s29_without_a_rule_the_other_end_is_denied_too_and_prolongs_nothing() {
    for mut gossip in all() {
        gossip.rig.allow(&[]);
        gossip.deny_first(ALLOW_MAP);
        assert_eq!(gossip.first(), REVOKED);
        gossip.rig.age(20);
        assert_eq!(gossip.second(), Some(Reason::NoRule), "judged on its own");
        gossip.rig.age(20);
        assert_eq!(gossip.first(), Some(Reason::MissingAllowMap), "the flow is gone");
    }
}

#[test]
fn s29_a_flow_that_is_allowed_again_passes_both_ways() {
    for mut gossip in all() {
        gossip.deny_first(0);
        assert_eq!(gossip.first(), REVOKED);
        gossip.rig.isolate(Isolated::Both);
        gossip.rig.epoch(3);
        assert_eq!((gossip.first(), gossip.second()), (None, None));
    }
}
