//! Steps from what the kernel's maps hold ([`Actual`]) to what the compiler wants ([`Desired`]).
//!
//! [`plan()`] compares the two and returns map writes in an order in which every packet gets, after
//! every single step, the verdict of the old state or that of the new one (S49), never a third. The
//! dataplane carries the steps out one by one and passes each to [`Actual::apply`].
//!
//! # What makes the order necessary
//!
//! A verdict needs two look-ups: address to identity (`identities`, `blocks`; for Services
//! `frontends`), then identity to ports in the endpoint's allow map. The kernel changes one entry at
//! a time, so that in between a packet can meet a *new* identity in an *old* allow map. Two measures
//! prevent wrong verdicts:
//!
//! - An identity keeps its id only while no verdict under that id changes for an address that comes
//!   or goes; otherwise it gets a *fresh* id that no entry has ever used (`plan/ids.rs`).
//! - An endpoint passes through *transition* allow maps, which give the old verdict for every old id
//!   and the new verdict for every fresh id (`plan/allow_maps.rs`). Then each address can move on its own:
//!   before its entry is written it has the old verdict, afterwards the new one.
//!
//! # The order
//!
//! 1. Delete the endpoints of pods that are gone; close those with an interface that is still there.
//!    An endpoint that takes over the interface of another pod starts closed.
//! 2. Write the transition allow maps and switch endpoints to them.
//! 3. Write the look-up tables: frontends, addresses, blocks.
//! 4. Switch endpoints to the new allow maps. Then write what had to wait for them: the way to
//!    identity 0 (where its verdict changes; 0 has no fresh id) and deletions of frontends.
//! 5. Record the backends of live connections to Services (S42). Then bump the epoch of each endpoint
//!    at which some verdict changed, once: its flows are rejudged.
//! 6. Endpoints that become isolated, and new ones: first *track*, which records every connection
//!    and passes all packets; then add the connections that existed before (S30); then isolate, and
//!    bump.
//! 7. Delete what nothing refers to any more.
//!
//! A program reads its endpoint first, then the tables, then the allow map. Before a step that
//! writes or deletes an entry of a table or an allow map, the dataplane waits until no program
//! runs that started before the endpoints were last written.
//!
//! # Example
//!
//! Pod `a` behind interface 11 admits `app=b` (10.0.0.2) on port 80. The policy changes to admit
//! `app in (b, c)`, which is a new identity: it gets the fresh id 2. `c` has 10.0.0.3.
//!
//! | | Step | `b` to `a` | `c` to `a` |
//! |---|---|---|---|
//! | | before: allow map 1 is `{1: 80}`, 10.0.0.2 is 1 | pass | drop |
//! | 2 | put allow map 2, `{1: 80, 2: 80}` | pass | drop |
//! | 2 | endpoint 11 uses allow map 2 | pass | drop |
//! | 3 | put allow map 3, `{2: 80}` | pass | drop |
//! | 3 | 10.0.0.2 is 2 | pass | drop |
//! | 3 | 10.0.0.3 is 2 | pass | **pass** |
//! | 4 | endpoint 11 uses allow map 3 | pass | pass |
//! | 5 | bump the epoch of 11 | pass | pass |
//! | 7 | delete the allow maps 1 and 2 | pass | pass |
//!
//! Without allow map 2, `b` would be dropped for a moment, although both policies admit it: id 2 is
//! not in allow map 1, and id 1 is not in allow map 3.

mod actual;
mod allow_maps;
mod endpoint;
mod entry;
mod ids;
mod indexed;
mod input;
mod lookups;
mod pairs;
mod planner;
mod repair;
mod step;
mod tables;
mod verdict;
mod writes;

use std::sync::Arc;

pub use actual::{Actual, EntryCounts};
pub(crate) use endpoint::is_same_pod;
pub use input::{Interface, InterfaceOwner, Interfaces, PlanOptions};
pub use repair::repair;
pub use step::{Plan, Step};

use crate::desired::Desired;

use planner::Planner;

/// Plans the steps from `actual` to `desired`.
///
/// Records in `actual` the ids of new identities and the epoch bumps that are due, but nothing that
/// the kernel holds: that is done by [`Actual::apply`], step by step. A plan may be abandoned after
/// any step; the next plan starts from there.
#[must_use]
pub fn plan(
    actual: &mut Actual,
    desired: &Desired,
    interfaces: &Interfaces,
    options: PlanOptions,
) -> Plan {
    let (plan, identity_keys, pending_bumps) = {
        let planner = Planner::new(actual, desired, interfaces, options);
        (planner.plan(), planner.identity_keys(), planner.bumps())
    };
    actual.identity_keys = Arc::new(identity_keys);
    actual.pending_bumps = pending_bumps;
    plan
}

/// Steps for when a plan fails, as where a map is full: new pods must not stay open.
///
/// A pod without an endpoint, or with one that an abandoned plan left tracking, gets an endpoint
/// that drops everything in each isolated direction. That needs no allow map. Everything else stays
/// as it is.
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
