//! Runs one case through the model and the loaded programs, and compares each verdict.

use anyhow::Result;

use crate::addresses::slot;
use crate::case::{Case, Step};
use crate::model::{Answer, Direction, Model};
use crate::rig::{Rig, Verdict};

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

/// How many packets were judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Packets that were compared.
    pub packets: u64,
    /// Packets that passed.
    pub passed: u64,
    /// Packets that were not compared, because the contract leaves them open.
    pub open: u64,
}

/// Runs one case from its start; the first packet on which model and programs do not agree.
///
/// # Errors
///
/// If the kernel refuses a frame or a map element.
pub fn replay(rig: &mut Rig, case: &Case, counts: &mut Counts) -> Result<Option<Disagreement>> {
    let (mut world, mut model) = (case.world.clone(), Model::default());
    rig.reset(&world)?;
    for (number, step) in case.steps.iter().enumerate() {
        match step {
            Step::Change { pod, to } => {
                world.pods[*pod] = *to;
                rig.write_pod(*pod, to)?;
            }
            Step::Age(seconds) => {
                model.age(*seconds);
                rig.age(*seconds)?;
            }
            Step::Packet(event) if !Rig::accepts(&event.frame) => {}
            Step::Packet(event) => {
                let answer = model.judge(&world, event);
                if answer == Answer::Open {
                    counts.open += 1;
                    continue;
                }
                let verdict = rig.judge(event)?;
                counts.packets += 1;
                counts.passed += u64::from(verdict.passes);
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
