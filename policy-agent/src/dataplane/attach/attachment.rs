//! The programs on one interface.

use std::collections::BTreeMap;

use super::attached::Attached;
use crate::dataplane::{error::DataplaneError, pod_program::POD_PROGRAMS};

/// The programs on one interface; dropping it detaches those that do not outlive the agent.
#[derive(Debug, Default)]
pub(in crate::dataplane) struct Attachment {
    pub(super) programs: BTreeMap<&'static str, Attached>,
    /// What an interrupted change of the mechanism left, to be detached.
    pub(super) left: Vec<Attached>,
    /// Whether an earlier agent's programs may still be attached.
    pub(super) stale: bool,
}

impl Attachment {
    /// An attachment of an earlier agent, to which its programs are added.
    pub(in crate::dataplane) fn stale() -> Self {
        Self { stale: true, ..Self::default() }
    }

    /// Adds a program that an earlier agent attached.
    pub(in crate::dataplane) fn add(&mut self, program: &'static str, attached: Attached) {
        self.left.extend(self.programs.insert(program, attached));
    }

    /// Whether no wanted program is missing.
    pub(in crate::dataplane) fn is_whole(&self) -> bool {
        !self.stale || self.programs.len() == POD_PROGRAMS.len()
    }

    /// Detaches the programs; an interface that is gone has none any more.
    pub(in crate::dataplane) fn detach(self, ifindex: u32) -> Result<(), DataplaneError> {
        // All of them, even if one fails.
        let all = self.programs.into_values().chain(self.left);
        let results: Vec<_> = all.map(|attached| attached.detach(ifindex)).collect();
        results.into_iter().collect()
    }
}
