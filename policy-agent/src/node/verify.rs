//! Reads back what the kernel holds, and repairs what somebody else changed (S50).

use policy_core::plan::{Step, repair};

use super::{Node, NodeError};
use crate::dataplane::{DataplaneError, Drift, Drifted, StepText};

impl Node {
    /// Compares pins, attachments and map entries with what the agent wrote, and repairs differences;
    /// how many of each kind there were.
    ///
    /// Flows and counters are left out: the programs write them.
    ///
    /// # Errors
    ///
    /// [`NodeError::Verify`]; what was repaired before it stays repaired.
    pub fn verify(&mut self) -> Result<Drift, NodeError> {
        let failed = |source: DataplaneError| NodeError::Verify(Box::new(source));
        let mut drift = self.dataplane.mend(self.actual.endpoints()).map_err(failed)?;
        let found = self.dataplane.found(&self.actual).map_err(failed)?;
        for step in repair(&self.actual, &found) {
            self.dataplane.apply(&step).map_err(failed)?;
            if !matches!(step, Step::BumpEpoch { .. }) {
                tracing::warn!(
                    "a map did not hold what the agent wrote; repaired: {}",
                    StepText(&step)
                );
                *drift.entry(Drifted::Entry).or_default() += 1;
            }
        }
        Ok(drift)
    }
}
