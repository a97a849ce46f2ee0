//! Runs cases through the model and the loaded programs, and compares each verdict.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use fastrand::Rng;

use crate::case::{Case, Step};
use crate::generate;
use crate::model::{Answer, Direction, Model};
use crate::rig::{Rig, Verdict};
use crate::shrink::shrink;
use crate::addresses::slot;

/// Cases that share their policies.
const CASES_OF_POLICIES: u64 = 300;

/// A day: the longest life of a flow.
const A_DAY: u64 = 86_400;

/// A packet on which the model and the programs do not agree.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Number of the step in its case.
    pub step: usize,
    /// What the model says.
    pub model: Answer,
    /// What the program did.
    pub program: Verdict,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Packets that were compared.
    pub packets: u64,
    /// Packets that passed.
    pub passed: u64,
    /// Packets that were not compared, because the contract leaves them open.
    pub open: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// The seed.
    pub seed: u64,
    /// Each disagreement, shrunk, with the number of packets before it.
    pub disagreements: Vec<(u64, Case, Disagreement)>,
}

/// How long a run goes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Packets to compare.
    pub packets: u64,
    /// Disagreements after which it stops.
    pub disagreements: usize,
}

/// Generates cases from a seed until so many packets were compared.
///
/// `progress` is called after each batch of cases with the packets so far.
///
/// # Errors
///
/// If the programs cannot be loaded, or the kernel refuses a frame.
pub fn run(
    object: &Path,
    seed: u64,
    limits: Limits,
    mut progress: impl FnMut(u64),
) -> Result<Report> {
    let mut rig = Rig::load(object)?;
    let mut random = Rng::with_seed(seed);
    let (start, mut report) = (Instant::now(), Report { seed, ..Report::default() });
    while report.packets < limits.packets && report.disagreements.len() < limits.disagreements {
        let policies = generate::policies(&mut random);
        for _ in 0..CASES_OF_POLICIES {
            let case = generate::case(&mut random, &policies);
            if replay(&mut rig, &case, &mut report)?.is_none() {
                continue;
            }
            let before = report.packets;
            // A long pause of this process ages flows, too: only what repeats counts.
            if let Some((case, found)) = shrink(&mut rig, case)? {
                report.disagreements.push((before, case, found));
                if report.disagreements.len() >= limits.disagreements {
                    break;
                }
            }
        }
        progress(report.packets);
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Runs one case from its start; the first packet on which model and programs do not agree.
///
/// # Errors
///
/// If the kernel refuses a frame or a map element.
pub fn replay(rig: &mut Rig, case: &Case, report: &mut Report) -> Result<Option<Disagreement>> {
    let (mut world, mut model, mut aged) = (case.world.clone(), Model::default(), 0);
    rig.reset(&world)?;
    for (number, step) in case.steps.iter().enumerate() {
        match step {
            Step::Change { pod, to } => {
                world.pods[*pod] = *to;
                rig.write_pod(*pod, to)?;
            }
            // Flows cannot be made older than the machine, except all of them.
            Step::Age(seconds) if aged + seconds > rig.uptime() && *seconds < A_DAY => {}
            Step::Age(seconds) => {
                aged += seconds;
                model.age(*seconds);
                rig.age(*seconds)?;
            }
            Step::Packet(event) if !Rig::accepts(&event.frame) => {}
            Step::Packet(event) => {
                let answer = model.judge(&world, event);
                if answer == Answer::Open {
                    report.open += 1;
                    continue;
                }
                let verdict = rig.judge(event)?;
                report.packets += 1;
                report.passed += u64::from(verdict.passes);
                let unmarked = event.direction == Direction::Egress
                    && verdict.passes
                    && verdict.mark != slot(event.pod);
                if verdict.passes != (answer == Answer::Pass) || unmarked {
                    let found = Disagreement { step: number, model: answer, program: verdict };
                    return Ok(Some(found));
                }
            }
        }
    }
    Ok(None)
}
