//! Whether a plan changes any verdict at an endpoint.
//!
//! Input: the allow maps before and after, and the pairs of look-up results before and after
//! ([`super::tables::TableChanges::lookups`]). Output: the interfaces whose epoch must be bumped. A
//! change of ids alone changes no verdict and cuts no connection.

use std::collections::BTreeMap;

use crate::{model::Direction, ports::Ports};

use super::{
    endpoint::Matched,
    entry::{Entries, ports_of, refusal_of},
    indexed::ContentIndex,
    planner::{Planner, isolation},
    tables::Lookup,
};

/// Interfaces of endpoints at which some address, port or frontend gets another verdict.
pub(super) fn changed(planner: &Planner<'_>) -> Vec<u32> {
    let mut known = BTreeMap::new();
    let mut differs = |matched: &Matched<'_>, direction| {
        let (old, new) = isolation(matched, direction);
        let content = new.map(|isolation| planner.desired.content(isolation));
        *known
            .entry((old, content, direction))
            .or_insert_with(|| verdict_changes(planner, old, content, direction))
    };
    let mut changed = Vec::new();
    for matched in planner.matching.matched.iter().filter(|matched| matched.old.is_some()) {
        if differs(matched, Direction::Ingress) || differs(matched, Direction::Egress) {
            changed.push(matched.new.ifindex);
        }
    }
    changed
}

fn verdict_changes(
    planner: &Planner<'_>,
    old: Option<u32>,
    new: Option<ContentIndex>,
    direction: Direction,
) -> bool {
    let old = old.map(|content| planner.old_entries(content));
    let new = new.map(|content| &planner.new[content]);
    if old.is_none() && new.is_none() {
        return false;
    }
    let egress = direction == Direction::Egress;
    // Frontends are only looked up for egress.
    let applies = |lookup: &Lookup| egress || matches!(lookup, Lookup::Address(_));
    let mut lookups = planner.lookups.iter().filter(|(from, to)| applies(from) && applies(to));
    lookups.any(|(from, to)| Outcome::of(old, *from, *to) != Outcome::of(new, *to, *from))
}

/// The verdicts of an allow map for the result of a look-up.
#[derive(PartialEq, Eq)]
enum Outcome<'a> {
    Ports(&'a Ports),
    Passes(bool),
}

impl<'a> Outcome<'a> {
    /// `entries` is `None` where nothing isolates the endpoint. `other` is the result in the other
    /// state: only where both are addresses are there ports to compare.
    fn of(entries: Option<&'a Entries>, lookup: Lookup, other: Lookup) -> Self {
        static EVERYTHING: Ports =
            Ports { every_protocol: true, other_protocols: false, ranges: Vec::new() };
        let Some(entries) = entries else {
            let ports = matches!((lookup, other), (Lookup::Address(_), Lookup::Address(_)));
            return if ports { Self::Ports(&EVERYTHING) } else { Self::Passes(true) };
        };
        match lookup {
            Lookup::Address(id) => Self::Ports(ports_of(entries, id)),
            Lookup::Frontend(id) => Self::Passes(refusal_of(entries, id).is_none()),
            Lookup::Port(id, protocol, port) => {
                Self::Passes(ports_of(entries, id).contains(protocol, port))
            }
        }
    }
}
