//! Outcomes of frontends in allow maps: entries only where a look-up without one says otherwise.

use std::sync::Arc;

use policy_common::drops::Reason;

use crate::compile::{
    allow::IdAllowMap,
    desired::{AllowMap, FrontendOutcome},
    identity_key::IdentityKey,
};

/// An entry to write; without an outcome, one to remove.
pub(super) type Edit<'a> = (&'a IdentityKey, Option<FrontendOutcome>);

/// The entry that an outcome needs.
pub(super) fn edit<'a>(
    key: &'a IdentityKey,
    outcome: FrontendOutcome,
    map: &IdAllowMap,
) -> Edit<'a> {
    (key, (outcome != without_entry(map)).then_some(outcome))
}

/// What the kernel does where there is no entry.
fn without_entry(map: &IdAllowMap) -> FrontendOutcome {
    if map.allows_everything() {
        FrontendOutcome::Pass
    } else {
        FrontendOutcome::Refuse(Reason::ServiceDenied)
    }
}

/// Carries out the edits that change something; returns whether there were any.
pub(super) fn apply(allow_map: &mut Arc<AllowMap>, edits: &[Edit<'_>]) -> bool {
    let mut changed = false;
    for (key, outcome) in edits {
        let identity = Some((*key).clone());
        if allow_map.frontends.get(&identity) == outcome.as_ref() {
            continue;
        }
        // Only a map that changes is copied; the others stay shared with the result before.
        let frontends = &mut Arc::make_mut(allow_map).frontends;
        match outcome {
            Some(outcome) => drop(frontends.insert(identity, outcome.clone())),
            None => drop(frontends.remove(&identity)),
        }
        changed = true;
    }
    changed
}
