//! The compiler: from a snapshot to what is to be enforced.

use crate::{desired::Desired, fault::Fault, model::Snapshot};

/// What makes an identity; see [`crate::desired::Meaning`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MeaningOf;

/// For whom to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pods of one node.
    Node(&'a str),
    /// Every pod, for questions about the whole cluster.
    Cluster,
}

/// Compiles a snapshot. Pure and total: what cannot be expressed becomes a fault.
#[must_use]
pub fn compile(_snapshot: &Snapshot, _scope: Scope<'_>) -> (Desired, Vec<Fault>) {
    (Desired::default(), Vec::new())
}
