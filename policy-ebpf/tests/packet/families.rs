//! Identities: whose rules a far end gets.

use policy_common::drops::Reason;

use crate::{
    craft::{Ends, OUT, OUT_V6, PEER, PEER_V6, udp},
    rig::{Isolated, Rig, everything},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

#[test]
fn s18_a_pod_has_its_own_identity_and_others_that_of_the_smallest_block() {
    let mut rig = Rig::new(Isolated::Egress);
    rig.block("10.0.0.0", 8, 4);
    rig.block("10.244.0.0", 16, 5);
    rig.identity(PEER, 6);
    #[rustfmt::skip]
    let cases = [
        // claim                           allowed  to            verdict
        ("a pod by its own",               6,       PEER,         None),
        ("a pod not by its block's",       5,       PEER,         DENIED),
        ("an address by the inner block",  5,       "10.244.9.9", None),
        ("not by the outer one",           4,       "10.244.9.9", DENIED),
        ("the outer block beside it",      4,       "10.1.1.1",   None),
        ("outside of all",                 4,       "192.0.2.1",  DENIED),
    ];
    for (claim, allowed, destination, verdict) in cases {
        rig.allow(&[everything(allowed)]);
        assert_eq!(rig.sent(&udp(Ends { destination, ..OUT })), verdict, "{claim}");
        rig.forget_flows();
    }
}

#[test]
fn s11_the_default_entry_is_for_all_that_have_none() {
    let mut rig = Rig::new(Isolated::Egress);
    rig.identity(PEER, 6);
    rig.identity(PEER_V6, 6);
    rig.allow(&[everything(0)]);
    assert_eq!(rig.sent(&udp(OUT)), None, "an identity without an entry");
    rig.forget_flows();
    rig.allow(&[everything(0), crate::rig::ports(6, &[])]);
    assert_eq!(rig.sent(&udp(OUT)), DENIED, "an entry of its own says all there is");
    assert_eq!(rig.sent(&udp(OUT_V6)), DENIED);
    assert_eq!(rig.sent(&udp(Ends { destination: "192.0.2.1", ..OUT })), None);
}

#[test]
fn s20_a_block_matches_no_address_of_the_other_family() {
    let mut rig = Rig::new(Isolated::Egress);
    rig.block("0.0.0.0", 0, 4);
    rig.allow(&[everything(4)]);
    assert_eq!(rig.sent(&udp(OUT)), None);
    assert_eq!(rig.sent(&udp(OUT_V6)), DENIED);
    let mut rig = Rig::new(Isolated::Egress);
    rig.block("::", 0, 4);
    // Stands between the families, as the agent always writes it.
    rig.block("0.0.0.0", 0, 0);
    rig.allow(&[everything(4)]);
    assert_eq!(rig.sent(&udp(OUT_V6)), None);
    assert_eq!(rig.sent(&udp(OUT)), DENIED);
}

#[test]
fn s20_an_ipv6_packet_with_an_ipv4_address_in_it_is_none_of_either_family() {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[everything(0)]);
    for ends in [
        Ends { destination: "::ffff:10.244.1.10", ..OUT_V6 },
        Ends { source: "::ffff:10.244.0.10", ..OUT_V6 },
    ] {
        assert_eq!(rig.sent(&udp(ends)), Some(Reason::Malformed), "{}", ends.source);
        assert_eq!(rig.received(&udp(ends.back())), Some(Reason::Malformed), "{}", ends.source);
    }
}
