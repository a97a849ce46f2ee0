//! Enforcement that an operator has switched off on a node.
//!
//! Every packet passes, and the connections of pods that policies isolate are recorded, so that those
//! which policies allow live on when enforcement is on again (S30). To the planner it looks like a
//! cluster without policies, in which some pods are about to be isolated:
//!
//! ```text
//!          shop/web, which a policy isolates        shop/other, which none does
//! on       allow map 4, source addresses checked    source addresses checked
//! off      tracked, any source address              any source address
//! on       connections adopted, allow map 4         source addresses checked
//! ```

use std::{fmt, mem};

use super::Intent;
use crate::{
    desired::Desired,
    model::{ENFORCEMENT, PerDirection},
};

/// Why enforcement is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffCause {
    /// The command `policy-agent off` on the node.
    Command,
    /// The annotation [`ENFORCEMENT`] of the Node.
    Annotation,
}

/// Says how it was switched off, and how to switch it on.
impl fmt::Display for OffCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => {
                f.write_str("`policy-agent off` has switched it off; `policy-agent on` ends that")
            }
            Self::Annotation => write!(
                f,
                "the annotation {ENFORCEMENT} of the Node has switched it off; remove it to end that"
            ),
        }
    }
}

impl Intent {
    /// Notes whether a command on the node has switched enforcement off; whether that is a change.
    pub fn set_off_by_command(&mut self, is_off: bool) -> bool {
        mem::replace(&mut self.off_by_command, is_off) != is_off
    }

    /// Why enforcement is off; `None` where it is on.
    #[must_use]
    pub fn off_cause(&self) -> Option<OffCause> {
        let node = self.received_node.as_ref();
        let has_annotation = node.is_some_and(|node| node.asks_for_no_enforcement);
        if self.off_by_command {
            Some(OffCause::Command)
        } else {
            (has_annotation && self.options.enforcement_annotation).then_some(OffCause::Annotation)
        }
    }
}

/// The state that passes every packet.
pub(super) fn open(mut desired: Desired) -> Desired {
    for endpoint in desired.endpoints.values_mut() {
        endpoint.is_tracked = endpoint.isolation.values().any(Option::is_some);
        endpoint.may_spoof = true;
        endpoint.isolation = PerDirection::default();
    }
    desired
}
