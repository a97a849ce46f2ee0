//! From what the kernel has to what it should have, one map write at a time.
//!
//! After every single step each packet gets the verdict of the old state or of the new one
//! (S49). The order that gives it:
//!
//! 1. Endpoints of pods that are gone are deleted, or closed where the interface is still there; one
//!    that takes the place of another is closed at first.
//! 2. Contents that know the old numbers by their old outcome and the fresh ones by their new
//!    one; endpoints are switched to them.
//! 3. Frontends, addresses and blocks go to their new numbers.
//! 4. Endpoints are switched to the new contents; what was to become number 0 becomes it now,
//!    and frontends that are no more go.
//! 5. One bump of the epoch for each endpoint for which some verdict changed.
//! 6. Endpoints that begin to be isolated, and new ones: where something isolates them, they
//!    record their connections and let everything pass, until those are known that were there
//!    before (S30). Then their bumps.
//! 7. What nothing refers to any more is deleted.
//!
//! A packet reads its endpoint, then the tables, then the content. A step that writes or deletes
//! an entry of a table or a content must therefore wait until no classifier runs that began
//! before the endpoints were last written.

mod actual;
mod content;
mod endpoint;
mod entry;
mod indexed;
mod moves;
mod numbers;
mod repair;
mod stage;
mod step;
mod verdict;

use std::{collections::BTreeMap, net::IpAddr};

pub use actual::Actual;
pub use repair::repair;
pub use step::Step;

use crate::{desired::Desired, model::ObjectName};

use stage::Stages;

/// A host-side interface, as discovery found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index of the host side, in the node's network namespace.
    pub ifindex: u32,
    /// Its name, for messages.
    pub name: String,
    /// Interface index of the bridge it is a port of; 0 for none.
    pub bridge: u32,
    /// Addresses of its peer, in the pod; link-local ones left out.
    pub addresses: Vec<IpAddr>,
    /// Whether it is cut off as long as no pod is known for it: no connection is there to be kept.
    pub guarded: bool,
}

/// Interfaces of the node, by index.
pub type Interfaces = BTreeMap<u32, Interface>;

/// What else a plan depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Pods may send from any address (S46, opt-out).
    pub may_spoof: bool,
}

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Writes, in their order. Empty where the kernel has what it should have.
    pub steps: Vec<Step>,
    /// Pods of the node that no interface was found for.
    pub pods_without_interface: Vec<ObjectName>,
    /// Interfaces that belong to no pod of the node, or that found no free slot.
    pub interfaces_without_pod: Vec<u32>,
}

/// Plans the way from `actual` to `desired`.
///
/// Books numbers for new identities and the epochs that are to begin in `actual`, which changes
/// nothing that the kernel holds; that is for [`Actual::apply`], step by step. A plan may be left at
/// any step for a new one.
#[must_use]
pub fn plan(
    actual: &mut Actual,
    desired: &Desired,
    interfaces: &Interfaces,
    options: PlanOptions,
) -> Plan {
    let (plan, meanings, owed) = {
        let stages = Stages::new(actual, desired, interfaces, options);
        (stages.plan(), stages.meanings(), stages.owed())
    };
    actual.meanings = meanings;
    actual.owed = owed;
    plan
}

/// Steps for the case that a plan cannot be carried out: pods that have no endpoint yet get one, and
/// nothing passes where something isolates them; nor at those that the plan left tracked. All else
/// stays as it is.
#[must_use]
pub fn close_newcomers(
    actual: &Actual,
    desired: &Desired,
    interfaces: &Interfaces,
    options: PlanOptions,
) -> Vec<Step> {
    let matching = endpoint::matching(actual, desired, interfaces, options);
    let new = matching.matched.iter().filter(|matched| matched.is_new());
    new.filter(|matched| matched.is_isolated())
        .map(|matched| {
            let endpoint = matched.closed();
            match matched.replaced {
                Some(replaced) => Step::ReplaceEndpoint { slot: replaced.slot, endpoint },
                None => Step::PutEndpoint(endpoint),
            }
        })
        .collect()
}
