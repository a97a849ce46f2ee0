//! A tuple that address translation gives to another sender: the flow is not its own.

use policy_common::{drops::Reason, endpoint::NodeKind};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, tcp, udp},
    rig::{IFINDEX, Isolated, Rig, everything},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

/// Another interface by which packets of other machines come in.
const SECOND_UPLINK: u32 = IFINDEX + 1;

/// A node's address in the family of some ends, with the ends.
const NODES: [(Ends<'static>, &str); 2] = [(OUT, "10.244.0.1"), (OUT_V6, "fd00:10:244::1")];

#[test]
fn s27_a_forwarded_packet_does_not_inherit_the_flow_of_a_process_of_the_node() {
    for (ends, node) in NODES {
        let mut rig = Rig::new(Isolated::Both);
        rig.node_address(node, NodeKind::Own);
        let from_node = Ends { source: node, ..ends.back() };
        for (first, later) in [
            (udp(from_node), udp(from_node)),
            (tcp(from_node, Flags::Syn), tcp(from_node, Flags::Ack)),
        ] {
            assert_eq!(rig.received_from_node(&first), None);
            assert_eq!(rig.received(&later), DENIED, "masqueraded by the node");
            assert_eq!(rig.received_from_node(&later), None, "the process still has its flow");
        }
    }
}

#[test]
fn s27_a_denied_sender_leaves_the_flow_to_its_own() {
    for (ends, node) in NODES {
        let mut rig = Rig::new(Isolated::Both);
        rig.node_address(node, NodeKind::Own);
        let from_node = udp(Ends { source: node, ..ends.back() });
        assert_eq!(rig.received_from_node(&from_node), None);
        rig.age(20);
        assert_eq!(rig.received(&from_node), DENIED);
        rig.age(20);
        assert_eq!(rig.received_from_node(&from_node), None, "a process needs no flow");
        assert_eq!(rig.received(&from_node), DENIED);
    }
}

#[test]
fn s27_a_sender_that_a_rule_allows_gets_a_flow_of_its_own() {
    for (ends, node) in NODES {
        let mut rig = Rig::new(Isolated::Both);
        rig.node_address(node, NodeKind::Own);
        rig.allow(&[everything(0)]);
        let packet = udp(Ends { source: node, ..ends.back() });
        assert_eq!(rig.received_from_node(&packet), None);
        assert_eq!(rig.received(&packet), None, "by the rule");
        rig.allow(&[]);
        rig.epoch(2);
        assert_eq!(rig.received(&packet), Some(Reason::Revoked), "it is not the node's flow now");
        assert_eq!(rig.received_from_node(&packet), None);
    }
}

#[test]
fn s27_another_machine_stays_the_same_by_whatever_interface_it_comes() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[everything(0)]);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::Syn)), None);
        assert_eq!(rig.sent(&tcp(ends, Flags::SynAck)), None);
        // Without a rule for it, so that only the flow can let it pass.
        rig.allow(&[]);
        let later = tcp(ends.back(), Flags::Ack);
        for uplink in [SECOND_UPLINK, IFINDEX, SECOND_UPLINK] {
            assert_eq!(rig.received_by(uplink, &later), None);
        }
    }
}

#[test]
fn s27_the_first_reply_shows_who_answers_under_an_address_of_a_node() {
    for (ends, node) in NODES {
        let out = Ends { destination: node, ..ends };
        let mut rig = Rig::new(Isolated::Both);
        rig.node_address(node, NodeKind::Own);
        rig.allow(&[everything(0)]);
        assert_eq!(rig.sent(&udp(out)), None);
        rig.allow(&[]);
        assert_eq!(rig.received(&udp(out.back())), None, "a backend of a node port");
        assert_eq!(rig.received_by(SECOND_UPLINK, &udp(out.back())), None, "by another way");
        // A process of the node passes as such; its packet is not the reply.
        assert_eq!(rig.received_from_node(&udp(out.back())), None);
        assert_eq!(rig.received(&udp(out.back())), DENIED);
    }
}

#[test]
fn s27_the_answering_end_may_change_where_no_node_has_its_address() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[everything(0)]);
        assert_eq!(rig.sent(&udp(ends)), None);
        rig.allow(&[]);
        assert_eq!(rig.received(&udp(ends.back())), None);
        // A backend on the node itself, such as a DNS cache.
        assert_eq!(rig.received_from_node(&udp(ends.back())), None);
        assert_eq!(rig.received(&udp(ends.back())), None);
    }
}
