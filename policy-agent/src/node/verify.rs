//! Reads back what the kernel holds, and repairs what somebody else changed (S50).
//!
//! A verification has three parts, so that the daemon never waits for the kernel: [`Node::mend`], then
//! [`Node::reader`] on another thread, then [`Node::repair`] with what the reader found.

use std::collections::BTreeSet;

use policy_core::{
    model::ObjectName,
    plan::{Actual, Step, repair},
};

use super::{Node, NodeError};
use crate::dataplane::{Bypass, DataplaneError, Drift, Drifted, StepText};

impl Node {
    /// Repairs pins and attached programs that are not as the agent wrote them; how many of each kind
    /// there were.
    ///
    /// # Errors
    ///
    /// [`NodeError::Verify`]; what was repaired before it stays repaired.
    pub fn mend(&mut self) -> Result<Drift, NodeError> {
        self.dataplane.mend(self.actual.endpoints()).map_err(failed)
    }

    /// The pods at which a program of another sees packets before the agent's, and that program.
    pub fn bypassed(&self) -> impl Iterator<Item = (&ObjectName, &Bypass)> {
        self.dataplane
            .bypasses()
            .iter()
            .filter_map(|bypass| Some((self.attributor.pod(bypass.ifindex)?, bypass)))
    }

    /// The pods that share flow tables with others, and why.
    pub fn sharing_flow_tables(&self) -> impl Iterator<Item = (&ObjectName, &str)> {
        let sharing = self.dataplane.sharing_flow_tables();
        sharing.filter_map(|(ifindex, reason)| Some((self.attributor.pod(ifindex)?, reason)))
    }

    /// Reads the map entries that the agent wrote, on any thread; `None` without pins.
    ///
    /// Flows and counters are left out: the programs write them.
    #[must_use]
    pub fn reader(&self) -> Option<impl FnOnce() -> Result<Actual, NodeError> + Send + use<>> {
        let reader = self.dataplane.reader()?;
        let written: BTreeSet<u32> = self.actual.allow_maps().collect();
        Some(move || reader.read(&written).map_err(failed))
    }

    /// Compares what a reader found with what the agent wrote. A difference may come from writes of
    /// the agent itself, so what differs is read once more before it is repaired.
    ///
    /// # Errors
    ///
    /// [`NodeError::Verify`]; what was repaired before it stays repaired.
    pub fn repair(&mut self, found: &Actual) -> Result<Drift, NodeError> {
        let mut drift = Drift::default();
        let suspects = repair(&self.actual, found);
        if suspects.is_empty() {
            return Ok(drift);
        }
        let allow_maps = suspects.iter().filter_map(|step| {
            let (Step::PutAllowMap { allow_map, .. } | Step::DeleteAllowMap { allow_map }) = step
            else {
                return None;
            };
            Some(*allow_map)
        });
        let found = self.dataplane.found(&self.actual, &allow_maps.collect()).map_err(failed)?;
        for step in repair(&self.actual, &found) {
            self.dataplane.apply(&step).map_err(failed)?;
            if !matches!(step, Step::BumpEpoch { .. }) {
                tracing::warn!(
                    "a map did not hold what the agent wrote; repaired: {}. If it happens again, find \
                     the program that writes the map",
                    StepText(&step)
                );
                *drift.entry(Drifted::Entry).or_default() += 1;
            }
        }
        Ok(drift)
    }
}

fn failed(source: DataplaneError) -> NodeError {
    NodeError::Verify(Box::new(source))
}
