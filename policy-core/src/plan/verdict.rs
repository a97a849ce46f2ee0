//! Whether a plan changes any verdict at an endpoint.

use std::collections::BTreeMap;

use crate::{model::Direction, ports::Ports};

use super::{
    endpoint::Matched,
    entry::{Entries, ports_of, refusal_of},
    indexed::ContentIndex,
    moves::Target,
    stage::{Stages, sides},
};

/// Interfaces of endpoints at which some address, port or frontend gets another verdict.
pub(super) fn changed(stages: &Stages<'_>) -> Vec<u32> {
    let mut known = BTreeMap::new();
    let mut differs = |matched: &Matched<'_>, direction| {
        let (old, isolation) = sides(matched, direction);
        let content = isolation.map(|isolation| stages.desired.content(isolation));
        *known
            .entry((old, content, direction))
            .or_insert_with(|| verdict_changes(stages, old, content, direction))
    };
    let mut changed = Vec::new();
    for matched in stages.matching.matched.iter().filter(|matched| matched.old.is_some()) {
        if differs(matched, Direction::Ingress) || differs(matched, Direction::Egress) {
            changed.push(matched.new.ifindex);
        }
    }
    changed
}

fn verdict_changes(
    stages: &Stages<'_>,
    old: Option<u32>,
    new: Option<ContentIndex>,
    direction: Direction,
) -> bool {
    let old = old.map(|content| stages.old_entries(content));
    let new = new.map(|content| &stages.new[content]);
    if old.is_none() && new.is_none() {
        return false;
    }
    let egress = direction == Direction::Egress;
    let seen = |target: &Target| egress || matches!(target, Target::Address(_));
    let mut targets = stages.targets.iter().filter(|(from, to)| seen(from) && seen(to));
    targets.any(|(from, to)| Outcome::of(old, *from, *to) != Outcome::of(new, *to, *from))
}

/// What comes of a look-up, as far as verdicts go.
#[derive(PartialEq, Eq)]
enum Outcome<'a> {
    Ports(&'a Ports),
    Passes(bool),
}

impl<'a> Outcome<'a> {
    /// `beside` is the place in the other state: only where both are addresses do all ports count.
    fn of(entries: Option<&'a Entries>, target: Target, beside: Target) -> Self {
        static EVERYTHING: Ports =
            Ports { every_protocol: true, other_protocols: false, ranges: Vec::new() };
        let Some(entries) = entries else {
            let ports = matches!((target, beside), (Target::Address(_), Target::Address(_)));
            return if ports { Self::Ports(&EVERYTHING) } else { Self::Passes(true) };
        };
        match target {
            Target::Address(number) => Self::Ports(ports_of(entries, number)),
            Target::Frontend(number) => Self::Passes(refusal_of(entries, number).is_none()),
            Target::Port(number, protocol, port) => {
                Self::Passes(ports_of(entries, number).contains(protocol, port))
            }
        }
    }
}
