//! The compiler: from a snapshot of the cluster to what a node should enforce.
//!
//! It is pure and total: equal snapshots give equal results, and what cannot be expressed is a
//! fault. Five stages follow one another, each in a folder that is named after its result:
//!
//! ```text
//! rules        policies that select a pod of the scope, their rules, and the distinct peer lists
//! peers        the peer lists that match each address
//! identities   a name for all addresses that the same lists match
//! allow        the ports that each distinct set of policies allows to each identity
//! services     the backends of each frontend, and what happens to a connection to it
//! ```
//!
//! A stage imports only earlier ones and what all of them share: `scope`, `registry`, `index`,
//! `prefix`, `change`, `identity_key`, and the types of the result, `desired`. It takes what the stages
//! before report of a change and reports its own; [`Compiler`] keeps the stages for the next change and
//! alone writes the result, and [`compile`] runs them once. The ids that stages give out depend on the
//! order of changes and do not leave the compiler: the result names everything by value.

mod allow;
mod change;
mod compiler;
pub mod desired;
mod identities;
mod identity_key;
mod index;
mod peers;
mod prefix;
mod registry;
mod rules;
mod scope;
mod services;

pub use change::Change;
pub use compiler::{Compiler, Reuse, ReuseCount};
pub use identity_key::{Identity, IdentityKey};
pub use prefix::is_mapped;
pub use rules::rule::CompiledPolicy;
pub use scope::Scope;

pub(crate) use identity_key::{AddressKey, FrontendKey, IdentityKind};
pub(crate) use prefix::{contains, is_covered, longest_match, masked};
pub(crate) use rules::rule::{CompiledRule, ResolvedPorts, RulePorts, Stage};
pub(crate) use services::service_backends;

use crate::{fault::Fault, model::Snapshot};

use compiler::Stages;
use desired::Desired;

/// Compiles a snapshot. Pure and total: what cannot be expressed becomes a fault.
///
/// Only policies that select a pod of the scope count. Faults are sorted; for the cluster they
/// include those of policies that select no pod.
#[must_use]
pub fn compile(snapshot: &Snapshot, scope: Scope<'_>) -> (Desired, Vec<Fault>) {
    let stages = Stages::new(snapshot, scope);
    (stages.desired, stages.faults)
}
