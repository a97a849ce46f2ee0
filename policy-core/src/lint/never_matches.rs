//! NP003 and NP009: entries that match nothing, whatever the cluster holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    compile::{contains, is_covered},
    model::{FieldPath, Operator, Peer, PortSpec, Selector},
};

use super::{
    context::{Context, policy_field},
    finding::{Level, Report},
};

/// The message for a selector that no labels can match.
pub(super) const CONTRADICTION: &str = "the selector contradicts itself: no labels can match it";

/// What to do about a field that cannot match.
pub(super) const FIX_ENTRY: &str = "correct or remove the entry";

/// NP003: selectors that contradict themselves, blocks with nothing left, entries that are not
/// valid.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in &context.snapshot.policies {
        if policy.subject.as_ref().is_some_and(is_contradictory) {
            let at = policy_field(name, FieldPath::spec("podSelector"));
            report.add(at, Level::Error, CONTRADICTION, "remove one of the requirements");
        }
    }
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            if let Some(message) = why_peer_never_matches(peer) {
                report.add(located.at(located.peer_path(index)), Level::Error, message, FIX_ENTRY);
            }
        }
        for (index, port) in located.rule.ports.iter().enumerate() {
            if let Some(message) = why_port_never_matches(&port.port) {
                report.add(located.at(located.port_path(index)), Level::Error, message, FIX_ENTRY);
            }
        }
    }
}

fn why_peer_never_matches(peer: &Peer) -> Option<String> {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let never = is_contradictory(pods) || namespaces.as_ref().is_some_and(is_contradictory);
            never.then(|| CONTRADICTION.to_owned())
        }
        Peer::Block(block) => is_covered(block.cidr, &block.except)
            .then(|| format!("the excepts leave nothing of {}", block.cidr)),
    }
}

fn why_port_never_matches(port: &PortSpec) -> Option<String> {
    match port {
        PortSpec::Range { first, last } if first > last => {
            Some(format!("endPort {last} is below port {first}"))
        }
        PortSpec::Every | PortSpec::Range { .. } | PortSpec::Named(_) => None,
    }
}

/// NP009: an `except` that is not a part of its block.
pub(super) fn excepts(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            for (inner_index, inner) in block.except.iter().enumerate() {
                if *inner != block.cidr && contains(block.cidr, *inner) {
                    continue;
                }
                let block_path = located.peer_path(index).field("ipBlock");
                report.add(
                    located.at(block_path.field("except").index(inner_index)),
                    Level::Error,
                    format!("{inner} is not a part of {}", block.cidr),
                    "an except only subtracts from its own block; remove it, or widen the block",
                );
            }
        }
    }
}

/// Whether no labels can match a selector.
///
/// The requirements on one key are taken together: `app In (a, b)` and `app NotIn (a, b, c)` leave
/// no value for `app`, and `app Exists` and `app DoesNotExist` exclude each other.
pub(super) fn is_contradictory(selector: &Selector) -> bool {
    #[derive(Default)]
    struct Key<'a> {
        allowed: Option<BTreeSet<&'a String>>,
        forbidden: BTreeSet<&'a String>,
        must_exist: bool,
        must_not_exist: bool,
    }
    let mut keys: BTreeMap<&str, Key<'_>> = BTreeMap::new();
    for requirement in &selector.requirements {
        let key = keys.entry(&requirement.key).or_default();
        match &requirement.operator {
            Operator::In(values) => {
                let values: BTreeSet<_> = values.iter().collect();
                key.allowed = Some(match key.allowed.take() {
                    Some(before) => &before & &values,
                    None => values,
                });
                key.must_exist = true;
            }
            Operator::NotIn(values) => key.forbidden.extend(values),
            Operator::Exists => key.must_exist = true,
            Operator::DoesNotExist => key.must_not_exist = true,
        }
    }
    keys.values().any(|key| {
        let no_value_left =
            key.allowed.as_ref().is_some_and(|values| values.is_subset(&key.forbidden));
        no_value_left || (key.must_exist && key.must_not_exist)
    })
}
