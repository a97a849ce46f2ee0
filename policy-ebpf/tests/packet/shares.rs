//! The flows of one pod take no other pod's room (S60).

use policy_common::{drops::Reason, endpoint::CLOSED};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, tcp, udp},
    rig::{ALLOW_MAP, FLOWS, Rig},
};

/// More flows than a table holds, so that the kernel evicts.
const FLOOD: u16 = 12_000;
const _: () = assert!(FLOOD as u32 > 2 * FLOWS);

/// The ends of the neighbour's packets, in the family of the pod's.
fn of_neighbour(pod: Ends<'static>) -> Ends<'static> {
    let source = if pod.source.contains(':') { "fd00:10:244::11" } else { "10.244.0.11" };
    Ends { source, ..pod }
}

/// What the neighbour does: packets without an answer, then others with one.
fn flood(rig: &mut Rig, ends: Ends<'_>) {
    for source_port in 1..FLOOD {
        rig.neighbour_sends(&tcp(Ends { source_port, ..ends }, Flags::Syn));
    }
    for source_port in 1..FLOOD {
        let question = Ends { source_port, ..ends.at(53) };
        // The kernel prefers to evict what was used once.
        for _ in 0..2 {
            rig.neighbour_sends(&udp(question));
            rig.neighbour_receives(&udp(question.back()));
        }
    }
}

/// Whether data of an idle connection, and the answer to a question, still pass after the flood of a
/// neighbour.
fn pass_after_flood(own_tables: bool, ends: Ends<'static>) -> [bool; 2] {
    let mut rig = Rig::with_neighbour(own_tables);
    assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None);
    assert_eq!(rig.received(&tcp(ends.back(), Flags::SynAck)), None);
    assert_eq!(rig.sent(&tcp(ends, Flags::Ack)), None);
    let question = ends.at(53);
    assert_eq!(rig.sent(&udp(question)), None);
    flood(&mut rig, of_neighbour(ends));
    [tcp(ends.back(), Flags::Ack), udp(question.back())].map(|frame| rig.received(&frame).is_none())
}

#[test]
fn s60_a_flood_of_flows_evicts_only_flows_of_its_own_pod() {
    for ends in [OUT, OUT_V6] {
        assert_eq!(pass_after_flood(true, ends), [true; 2], "{}", ends.source);
        // Proof that the flood is large enough: without tables of their own the pods share.
        assert_eq!(pass_after_flood(false, ends), [false; 2], "{}, shared", ends.source);
    }
}

#[test]
fn s60_a_pod_without_any_flow_table_opens_no_connection() {
    let mut rig = Rig::with_neighbour(false);
    rig.isolate_by(CLOSED, ALLOW_MAP);
    rig.no_flow_tables();
    for ends in [OUT, OUT_V6] {
        assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), Some(Reason::FlowTableFull));
    }
}
