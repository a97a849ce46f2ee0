//! What can never match, whatever the cluster holds.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::{
    compile::contains,
    model::{FieldPath, Operator, Peer, PortSpec, Selector},
};

use super::{
    Level, Report,
    context::{Context, policy},
    tiers,
};

/// Selectors that contradict themselves, blocks with nothing left, entries that are not valid.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    tiers::selectors::never(context, report);
    for (name, object) in &context.snapshot.policies {
        if object.subject.as_ref().is_some_and(contradictory) {
            let message = "the selector contradicts itself: no labels can match it".to_owned();
            let subject = policy(name, FieldPath::spec("podSelector"));
            report.add(subject, Level::Error, message, "drop one of the requirements");
        }
    }
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let reason = match peer {
                Peer::Pods { namespaces, pods } => (contradictory(pods)
                    || namespaces.as_ref().is_some_and(contradictory))
                .then(|| "the selector contradicts itself: no labels can match it".to_owned()),
                Peer::Block(block) => is_covered(block.cidr, &block.except)
                    .then(|| format!("its excepts leave nothing of {}", block.cidr)),
                Peer::Invalid { reason } => Some(reason.clone()),
            };
            if let Some(message) = reason {
                let subject = located.at(located.peer_field(index));
                report.add(subject, Level::Error, message, "mend or remove the entry");
            }
        }
        for (index, port) in located.rule.ports.iter().enumerate() {
            let reason = match &port.port {
                PortSpec::Invalid { reason } => reason.clone(),
                PortSpec::Range { first, last } if first > last => {
                    format!("endPort {last} is below port {first}")
                }
                PortSpec::Every | PortSpec::Range { .. } | PortSpec::Named(_) => continue,
            };
            let subject = located.at(located.field().field("ports").index(index));
            report.add(subject, Level::Error, reason, "mend or remove the entry");
        }
    }
}

/// `except` that is no part of its block.
pub(super) fn excepts(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            for (inner_index, inner) in block.except.iter().enumerate() {
                if *inner != block.cidr && contains(block.cidr, *inner) {
                    continue;
                }
                let field = located.peer_field(index);
                report.add(
                    located.at(field.field("ipBlock").field("except").index(inner_index)),
                    Level::Error,
                    format!("{inner} is not a part of {}", block.cidr),
                    "an except only subtracts from its own block; remove it, or widen the block",
                );
            }
        }
    }
}

/// Whether no labels can match a selector.
pub(super) fn contradictory(selector: &Selector) -> bool {
    #[derive(Default)]
    struct Key<'a> {
        one_of: Option<BTreeSet<&'a String>>,
        none_of: BTreeSet<&'a String>,
        there: bool,
        absent: bool,
    }
    let mut keys: BTreeMap<&str, Key<'_>> = BTreeMap::new();
    for requirement in &selector.requirements {
        let key = keys.entry(&requirement.key).or_default();
        match &requirement.operator {
            Operator::In(values) => {
                let values: BTreeSet<_> = values.iter().collect();
                key.one_of = Some(match key.one_of.take() {
                    Some(before) => &before & &values,
                    None => values,
                });
                key.there = true;
            }
            Operator::NotIn(values) => key.none_of.extend(values),
            Operator::Exists => key.there = true,
            Operator::DoesNotExist => key.absent = true,
        }
    }
    keys.values().any(|key| {
        let nothing_left = key.one_of.as_ref().is_some_and(|values| values.is_subset(&key.none_of));
        nothing_left || (key.there && key.absent)
    })
}

/// Whether excepts together hold all of a block.
pub(super) fn is_covered(block: IpNetwork, excepts: &[IpNetwork]) -> bool {
    if excepts.iter().any(|except| contains(*except, block)) {
        return true;
    }
    let inside: Vec<IpNetwork> =
        excepts.iter().copied().filter(|except| contains(block, *except)).collect();
    // A block is covered by smaller ones only if both its halves are.
    inside.len() > 1
        && halves(block)
            .is_some_and(|halves| halves.into_iter().all(|half| is_covered(half, &inside)))
}

fn halves(block: IpNetwork) -> Option<[IpNetwork; 2]> {
    let prefix = block.prefix().checked_add(1)?;
    let low = IpNetwork::new(block.network(), prefix).ok()?;
    let high = IpNetwork::new(block.broadcast(), prefix).ok()?;
    Some([low, crate::compile::masked(high)])
}
