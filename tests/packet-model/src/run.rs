//! Runs cases through the model and the loaded programs, and compares each verdict.

use std::fmt::{self, Display};
use std::time::Instant;

use anyhow::Result;
use fastrand::Rng;

use crate::case::Case;
use crate::generate;
use crate::replay::{Counts, Disagreement, replay};
use crate::rig::Rig;
use crate::shrink::shrink;

/// Cases that share their policies.
const CASES_OF_POLICIES: u64 = 300;

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Packets.
    pub counts: Counts,
    /// Seconds that it took.
    pub seconds: f64,
    /// The seed.
    pub seed: u64,
    /// Each disagreement, shrunk, with the number of packets before it.
    pub disagreements: Vec<(u64, Case, Disagreement)>,
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (before, case, found) in &self.disagreements {
            let Disagreement { step, model, program } = found;
            let did = if program.passes { "passes it" } else { "drops it" };
            writeln!(f, "after {before} packets, in step {step}: model {model:?}, program {did}")?;
            writeln!(f, "{case}\n")?;
        }
        let Counts { packets, passed, open } = self.counts;
        writeln!(f, "{passed} packets passed, {open} were left open")?;
        let (seconds, seed) = (self.seconds, self.seed);
        let found = self.disagreements.len();
        write!(f, "{packets} packets, {seconds:.1} s, seed {seed}, {found} disagreements")
    }
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
/// If the kernel refuses a frame or a map element.
pub fn run(
    rig: &mut Rig,
    seed: u64,
    limits: Limits,
    mut progress: impl FnMut(u64),
) -> Result<Report> {
    let mut random = Rng::with_seed(seed);
    let (start, mut report) = (Instant::now(), Report { seed, ..Report::default() });
    while report.counts.packets < limits.packets
        && report.disagreements.len() < limits.disagreements
    {
        let policies = generate::policies(&mut random);
        for _ in 0..CASES_OF_POLICIES {
            let case = generate::case(&mut random, &policies);
            if replay(rig, &case, &mut report.counts)?.is_none() {
                continue;
            }
            let before = report.counts.packets;
            // A long pause of this process ages flows, too: only what repeats counts.
            if let Some((case, found)) = shrink(rig, case)? {
                report.disagreements.push((before, case, found));
                if report.disagreements.len() >= limits.disagreements {
                    break;
                }
            }
        }
        progress(report.counts.packets);
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}
