//! Shrinks a case on which model and programs do not agree.

use anyhow::Result;

use crate::case::Case;
use crate::replay::{Counts, Disagreement, replay};
use crate::rig::Rig;

/// The smallest case found, and its disagreement; `None` if it does not repeat.
///
/// # Errors
///
/// If the kernel refuses a map element.
pub fn shrink(rig: &mut Rig, mut case: Case) -> Result<Option<(Case, Disagreement)>> {
    let Some(mut found) = check(rig, &case)? else { return Ok(None) };
    case.steps.truncate(found.step + 1);
    let mut part = case.steps.len() / 2;
    while part > 0 {
        let mut start = 0;
        while start + part < case.steps.len() {
            let mut smaller = case.clone();
            smaller.steps.drain(start..start + part);
            match check(rig, &smaller)? {
                Some(still) => {
                    smaller.steps.truncate(still.step + 1);
                    (case, found) = (smaller, still);
                }
                None => start += part,
            }
        }
        part /= 2;
    }
    for candidate in simpler_rules(&case) {
        let mut smaller = case.clone();
        if candidate.0 < smaller.world.policies.len()
            && candidate.1 < smaller.world.policies[candidate.0].len()
        {
            smaller.world.policies[candidate.0].remove(candidate.1);
            if let Some(still) = check(rig, &smaller)?
                && still.step + 1 == smaller.steps.len()
            {
                (case, found) = (smaller, still);
            }
        }
    }
    Ok(Some((case, found)))
}

/// Each rule, the last ones first, so that the numbers of the others stay.
fn simpler_rules(case: &Case) -> Vec<(usize, usize)> {
    let policies = case.world.policies.iter().enumerate();
    policies
        .flat_map(|(number, policy)| (0..policy.len()).rev().map(move |rule| (number, rule)))
        .collect()
}

fn check(rig: &mut Rig, case: &Case) -> Result<Option<Disagreement>> {
    replay(rig, case, &mut Counts::default())
}
