//! The compiler: from a snapshot to what is to be enforced.
//!
//! There is one way through, `state`: a snapshot is a change that touches everything.
//!
//! Numbers that a stage gives out for itself depend on the order of changes, and never leave it:
//! the result names everything by what it is.

mod allow;
mod compiler;
mod identities;
mod identity_key;
mod peers;
mod prefix;
mod rules;
mod services;

pub use compiler::{Change, Compiler, Kept, Reused};
pub use rules::rule::CompiledPolicy;

pub(crate) use identity_key::{AddressKey, IdentityKind};
pub(crate) use prefix::{contains, longest_containing, longest_match, masked};
pub(crate) use rules::rule::{ResolvedPorts, Stage};
pub(crate) use services::resolve::{ServiceBackends, service_backends};

use crate::{desired::Desired, fault::Fault, model::Snapshot};

use compiler::state::State;

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
