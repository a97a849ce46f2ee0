//! The loaded programs give each generated packet the verdict of the contract.
//!
//! Needs root and the object that `cargo xtask bpf` builds; without either every test fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use packet_model::case::Case;
use packet_model::replay::{self, Counts};
use packet_model::rig::Rig;
use packet_model::run::{Limits, run};

fn rig(handle_ipv6: bool) -> Rig {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf/policy.o");
    Rig::load(&object, handle_ipv6).unwrap()
}

/// What a printed case calls.
#[expect(dead_code, reason = "for a case of a run that found a disagreement")]
fn replay(case: &Case) {
    let found = replay::replay(&mut rig(true), case, &mut Counts::default()).unwrap();
    assert!(found.is_none(), "{found:?}");
}

/// S1 to S3, S18 to S21, S27 to S46: a million packets, always the same ones. Takes about a minute.
#[test]
fn a_million_packets_get_the_verdict_of_the_contract() {
    let limits = Limits { packets: 1_000_000, disagreements: 3 };
    let report = run(&mut rig(true), 1, limits, |_| ()).unwrap();
    println!("{report}");
    assert!(report.disagreements.is_empty(), "{report}");
    let Counts { packets, passed, open } = report.counts;
    assert!(passed > packets / 4, "too few packets pass to prove anything");
    assert!(passed < packets * 3 / 4, "too few packets are dropped");
    assert!(open < packets, "most packets are not compared");
}

/// S45: programs that ignore a family are noticed at once, and the case is small.
#[test]
fn s45_a_fault_is_found_and_shrunk() {
    let limits = Limits { packets: 10_000, disagreements: 1 };
    let report = run(&mut rig(false), 1, limits, |_| ()).unwrap();
    let (_, case, found) = &report.disagreements[0];
    assert!(found.program.passes);
    assert!(case.steps.len() <= 2, "{case}");
}
