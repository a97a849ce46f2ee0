//! The compiler: from a snapshot to what is to be enforced.
//!
//! There is one way through, `state`: a snapshot is a change that touches everything.
//!
//! Numbers that a stage gives out for itself depend on the order of changes, and never leave it:
//! the result names everything by what it is.

mod behind;
mod block;
mod content;
mod cover;
mod force;
mod frontend;
mod grant;
mod group;
mod identity;
mod incremental;
mod lists;
mod meaning;
mod merge;
mod numbers;
mod rule;
mod select;
mod service;
mod sets;
mod state;
mod subject;
mod tier;

pub use incremental::{Change, Compiler, Kept, Reused};
pub use rule::CompiledPolicy;
pub(crate) use rule::Stage;

pub(crate) use block::{longest, longest_around};
pub(crate) use meaning::{AddressMeaning, MeaningOf, Resolved};
pub(crate) use rule::{contains, masked};
pub(crate) use service::{Target, behind};

use crate::{desired::Desired, fault::Fault, model::Snapshot};

use state::State;

/// For whom to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pods of one node.
    Node(&'a str),
    /// Every pod, for questions about the whole cluster.
    Cluster,
}

/// Compiles a snapshot. Pure and total: what cannot be expressed becomes a fault.
///
/// Only policies that select a pod of the scope count. Faults come sorted; for the cluster also
/// those of policies that select nothing.
#[must_use]
pub fn compile(snapshot: &Snapshot, scope: Scope<'_>) -> (Desired, Vec<Fault>) {
    let state = State::new(snapshot, scope);
    (state.desired, state.faults)
}
