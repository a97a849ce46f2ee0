//! Policies that select the same pods together, as far as the form of their selectors shows it.
//!
//! Rules of all policies that select a pod add up, so a rule that looks at what is missing must read
//! the companions of a policy too: the policies that select at least every pod that it selects.

use crate::model::{Direction, NetworkPolicy, ObjectName, Peer, Rule};

use super::{context::Context, redundant::covers};

/// The policies of a namespace that select at least every pod that a policy selects, itself
/// included.
pub(super) fn companions<'a>(
    context: &Context<'a>,
    name: &'a ObjectName,
    policy: &'a NetworkPolicy,
) -> impl Iterator<Item = (&'a ObjectName, &'a NetworkPolicy)> + use<'a> {
    let policies = context.snapshot.policies_of(&name.namespace);
    policies.filter(move |(other, found)| *other == name || covers_subject(found, policy))
}

/// The rules of a direction that are in force for every pod that a policy selects.
pub(super) fn rules_around<'a>(
    context: &Context<'a>,
    name: &'a ObjectName,
    policy: &'a NetworkPolicy,
    direction: Direction,
) -> impl Iterator<Item = &'a Rule> + use<'a> {
    companions(context, name, policy)
        .filter(move |(_, found)| found.applies(direction))
        .flat_map(move |(_, found)| found.rules(direction))
}

/// Whether `wide` selects at least the pods that `narrow` selects, both of one namespace.
pub(super) fn covers_subject(wide: &NetworkPolicy, narrow: &NetworkPolicy) -> bool {
    match (&wide.subject, &narrow.subject) {
        (None, _) => true,
        (Some(wide), None) => wide.requirements.is_empty(),
        (Some(wide), Some(narrow)) => covers::selector(wide, narrow),
    }
}

/// Whether the peers of `wide` hold a peer of another rule of the namespace `own`; `None` stands
/// for everyone.
pub(super) fn covers_peer(
    context: &Context<'_>,
    own: &str,
    wide: &Rule,
    narrow: Option<&Peer>,
) -> bool {
    let labels = context.snapshot.namespace_labels(own);
    wide.peers.is_empty()
        || narrow
            .is_some_and(|narrow| wide.peers.iter().any(|wide| covers::peer(&labels, wide, narrow)))
}
