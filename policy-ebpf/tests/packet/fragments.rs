//! Fragments: later ones follow the first.

use policy_common::{drops::Reason, endpoint::NodeKind, fragment::PLACES};

use crate::{
    craft::{Ends, OUT, OUT_V6, UDP, fragments, icmp, long_udp},
    rig::{ALLOW_MAP, Isolated, Rig, everything, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);
const UNKNOWN: Option<Reason> = Some(Reason::Fragment);

/// A datagram in two fragments.
fn datagram(ends: Ends<'_>, id: u16) -> [Vec<u8>; 2] {
    fragments(&long_udp(ends, 2000), id, 1000)
}

/// A pod that may use UDP port 80 alone, in both directions.
fn port_80() -> Rig {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[ports(0, &[(UDP, 80, 80)])]);
    rig
}

#[test]
fn s33_later_fragments_follow_the_first_in_both_directions() {
    for ends in [OUT, OUT_V6] {
        let mut rig = port_80();
        let [first, later] = datagram(ends, 7);
        assert_eq!(rig.sent(&later), UNKNOWN, "the first is unknown");
        assert_eq!(rig.sent(&first), None);
        assert_eq!(rig.sent(&later), None);
        assert_eq!(rig.sent(&later), None, "in any order, as often as they come");
        let inbound = Ends { source_port: 5000, destination_port: 80, ..ends.back() };
        let [first, later] = datagram(inbound, 8);
        assert_eq!(rig.received(&later), UNKNOWN);
        assert_eq!(rig.received(&first), None);
        assert_eq!(rig.received(&later), None);
    }
}

#[test]
fn s33_a_datagram_that_a_router_fragmented_arrives_where_it_is_admitted() {
    for (ends, client) in [(OUT, "192.0.2.7"), (OUT_V6, "2001:db8::7")] {
        let inbound = Ends { source: client, source_port: 5000, ..ends.back() };
        for (port, first, later) in [(80, None, None), (81, DENIED, UNKNOWN)] {
            let mut rig = port_80();
            let long = long_udp(inbound.at(port), 3000);
            // The router splits at its own MTU, and may split the first part once more.
            let [head, tail] = fragments(&long, 7, 1432);
            let parts = split(&head, 576);
            assert_eq!(rig.received(&parts[0]), first, "port {port}");
            for part in [&parts[1], &tail] {
                assert_eq!(rig.received(part), later, "port {port}");
            }
        }
    }
}

/// A first fragment, split once more after its first `bytes`.
fn split(head: &[u8], bytes: usize) -> [Vec<u8>; 2] {
    let is_v6 = head[12..14] == [0x86, 0xdd];
    let start = if is_v6 { 62 } else { 34 };
    let mut parts =
        [head[..start + bytes].to_vec(), [&head[..start], &head[start + bytes..]].concat()];
    for (part, offset) in parts.iter_mut().zip([0, bytes]) {
        let offset = u16::try_from(offset).unwrap();
        let length = u16::try_from(part.len()).unwrap();
        if is_v6 {
            part[18..20].copy_from_slice(&(length - 54).to_be_bytes());
            part[56..58].copy_from_slice(&(offset | 1).to_be_bytes());
        } else {
            part[16..18].copy_from_slice(&(length - 14).to_be_bytes());
            part[20..22].copy_from_slice(&((offset / 8) | 0x2000).to_be_bytes());
        }
    }
    parts
}

#[test]
fn s33_a_reply_in_fragments_passes() {
    for ends in [OUT, OUT_V6] {
        let mut rig = port_80();
        assert_eq!(rig.sent(&long_udp(ends, 20)), None);
        for part in datagram(ends.back(), 7) {
            assert_eq!(rig.received(&part), None);
        }
    }
}

#[test]
fn s33_fragments_of_another_datagram_do_not_follow() {
    for ends in [OUT, OUT_V6] {
        let mut rig = port_80();
        let [first, _] = datagram(ends, 7);
        assert_eq!(rig.sent(&first), None);
        // So many that some of them have the place of the first one.
        for id in 8..400 {
            assert_eq!(rig.sent(&datagram(ends, id)[1]), UNKNOWN, "another identification");
        }
        let elsewhere = if ends.source.contains(':') { "2001:db8::9" } else { "192.0.2.9" };
        let other = Ends { destination: elsewhere, ..ends };
        assert_eq!(rig.sent(&datagram(other, 7)[1]), UNKNOWN, "another destination");
    }
}

#[test]
fn s33_a_denied_first_fragment_takes_its_later_ones_along() {
    for ends in [OUT, OUT_V6] {
        let mut rig = port_80();
        let [first, later] = datagram(ends.at(81), 7);
        assert_eq!(rig.sent(&first), DENIED);
        assert_eq!(rig.sent(&later), UNKNOWN);
    }
}

#[test]
fn s33_an_unknown_fragment_is_judged_by_address_where_ports_do_not_matter() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Both);
        let [_, later] = datagram(ends, 7);
        let [_, back] = datagram(ends.back(), 7);
        assert_eq!((rig.sent(&later), rig.received(&back)), (DENIED, DENIED), "no rule at all");
        rig.allow(&[everything(0)]);
        assert_eq!((rig.sent(&later), rig.received(&back)), (None, None), "every port");
        rig.allow(&[everything(0), ports(6, &[(UDP, 80, 80)])]);
        rig.identity(ends.destination, 6);
        assert_eq!((rig.sent(&later), rig.received(&back)), (UNKNOWN, UNKNOWN), "some ports");
    }
}

#[test]
fn s33_fragments_never_matter_where_nothing_isolates() {
    for ends in [OUT, OUT_V6] {
        for (isolated, sent, received) in [
            (Isolated::Ingress, None, DENIED),
            (Isolated::Egress, DENIED, None),
            (Isolated::Neither, None, None),
        ] {
            let mut rig = Rig::new(isolated);
            for part in datagram(ends, 7) {
                assert_eq!(rig.sent(&part), sent);
            }
            rig.forget_flows();
            for part in datagram(ends.back().at(99), 7) {
                assert_eq!(rig.received(&part), received);
            }
        }
    }
}

#[test]
fn s33_fragments_of_the_own_node_pass() {
    for (ends, node) in [(OUT, "10.244.0.1"), (OUT_V6, "fd00:10:244::1")] {
        let mut rig = Rig::new(Isolated::Both);
        rig.node_address(node, NodeKind::Own);
        let [first, later] = datagram(Ends { source: node, ..ends.back() }, 7);
        assert_eq!(rig.received(&later), DENIED, "forwarded with its address");
        assert_eq!(rig.received_from_node(&later), None);
        assert_eq!(rig.received_from_node(&first), None);
    }
}

#[test]
fn s33_a_large_ping_passes_by_an_allow_all_rule() {
    for (ends, kind) in [(OUT, 8), (OUT_V6, 128)] {
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[everything(0)]);
        rig.isolate_by(policy_common::endpoint::CLOSED, ALLOW_MAP);
        let body = [&[0, 7, 0, 1][..], &[0; 2000]].concat();
        for part in fragments(&icmp(ends.source, ends.destination, kind, &body), 7, 1000) {
            assert_eq!(rig.sent(&part), None);
        }
        let reply = if kind == 8 { 0 } else { 129 };
        for part in fragments(&icmp(ends.destination, ends.source, reply, &body), 9, 1000) {
            assert_eq!(rig.received(&part), None, "and its reply without a rule");
        }
    }
}

#[test]
fn s60_a_pod_remembers_so_many_datagrams_and_no_more() {
    let mut rig = port_80();
    for id in 0..u16::try_from(4 * PLACES).unwrap() {
        for part in datagram(OUT, id) {
            assert_eq!(rig.sent(&part), None, "each follows at once");
        }
    }
    assert_eq!(rig.fragments(), usize::try_from(PLACES).unwrap());
}
