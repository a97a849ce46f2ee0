//! What is enforced, read back and put right (S50).

use policy_core::plan::{Step, repair};

use super::{Node, NodeError};
use crate::dataplane::{Act, DataplaneError, Drift, Drifted};

impl Node {
    /// Reads back what was pinned, attached and written, and puts right what is not as it was left.
    ///
    /// Flows and counters, which the classifiers write, are not among it.
    ///
    /// # Errors
    ///
    /// [`NodeError::Verify`]: what was put right before stays so.
    pub fn verify(&mut self) -> Result<Drift, NodeError> {
        let failed = |source: DataplaneError| NodeError::Verify(Box::new(source));
        let mut drift = self.dataplane.mend(self.actual.endpoints()).map_err(failed)?;
        let found = self.dataplane.found(&self.actual).map_err(failed)?;
        for step in repair(&self.actual, &found) {
            self.dataplane.apply(&step).map_err(failed)?;
            if !matches!(step, Step::BumpEpoch { .. }) {
                tracing::warn!("the kernel did not hold what was written to it: {}", Act(&step));
                *drift.entry(Drifted::Entry).or_default() += 1;
            }
        }
        Ok(drift)
    }
}
