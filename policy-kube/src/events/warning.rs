//! What an Event warns of.

use std::collections::BTreeSet;

use policy_core::model::ObjectRef;

/// A warning about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Warning {
    /// `regarding`.
    pub about: ObjectRef,
    /// `regarding.uid`; the API server is asked where it is `None`.
    pub uid: Option<String>,
    /// `reason`, one word in `UpperCamelCase`.
    pub reason: &'static str,
    /// `note`; cut to what the API server accepts, and the name of the node is added.
    pub note: String,
}

/// The warnings that hold now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveWarnings {
    /// Number of nodes of the cluster, each of which may have the same warnings.
    pub nodes: usize,
    /// Each is written at once, and again in each slot while it is here.
    pub warnings: BTreeSet<Warning>,
}
