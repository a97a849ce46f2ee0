//! The stages of a plan.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::endpoint::Endpoint;

use crate::{
    desired::{Desired, Isolation, Meaning},
    model::Direction,
};

use super::{
    Actual, Interfaces, Plan, PlanOptions, Step,
    content::{self, Contents},
    endpoint::{self, Matched, Matching},
    entry::Entries,
    indexed::{ContentIndex, Indexed},
    moves::{Moves, Target},
    numbers::{Change, Numbers},
    verdict,
};

/// A plan in the making.
pub(super) struct Stages<'a> {
    actual: &'a Actual,
    pub(super) desired: Indexed<'a>,
    pub(super) matching: Matching<'a>,
    /// Contents of the kernel, in the compiler's form.
    old: BTreeMap<u32, Entries>,
    /// Desired contents, by number.
    pub(super) new: Vec<Entries>,
    moves: Moves,
    numbers: Numbers,
    pub(super) targets: BTreeSet<(Target, Target)>,
}

/// Contents of one endpoint in one direction, from one stage to the next; 0 where not isolated.
#[derive(Clone, Copy, Default)]
struct Way {
    /// With the old outcomes and those of fresh numbers.
    first: u32,
    /// With the new outcomes and those of frontends that go.
    second: u32,
    /// As compiled.
    last: u32,
}

impl<'a> Stages<'a> {
    /// Compares both states.
    pub(super) fn new(
        actual: &'a Actual,
        desired: &'a Desired,
        interfaces: &'a Interfaces,
        options: PlanOptions,
    ) -> Self {
        let matching = endpoint::matching(actual, desired, interfaces, options);
        let known = actual.contents.keys();
        let old: BTreeMap<_, _> =
            known.map(|&content| (content, actual.entries(content))).collect();
        let desired = Indexed::of(desired);
        let moves = Moves::between(actual, &desired);
        let nothing = Entries::new();
        let changes = distinct_changes(&matching, &desired);
        let changes: Vec<_> = changes
            .iter()
            .map(|&(old_content, new_content, egress)| Change {
                old: old.get(&old_content).unwrap_or(&nothing),
                new: &desired.contents[new_content],
                egress,
            })
            .collect();
        let numbers = Numbers::assign(actual, &desired, &moves, &changes);
        let targets = moves.targets(actual, &desired, &numbers);
        let contents = desired.contents.iter();
        let new = contents.map(|entries| content::by_number(entries, &numbers)).collect();
        Self { actual, desired, matching, old, new, moves, numbers, targets }
    }

    /// The meaning of every number from now on; those of before stay until nothing refers to them.
    pub(super) fn meanings(&self) -> BTreeMap<u32, Meaning> {
        let used = self.actual.used_numbers();
        let old = self.actual.meanings.iter().filter(|(number, _)| used.contains(number));
        let old = old.map(|(number, meaning)| (*number, meaning.clone()));
        let new = self.numbers.meanings(&self.desired);
        old.chain(new.map(|(number, meaning)| (number, meaning.clone()))).collect()
    }

    /// Puts the steps in order.
    pub(super) fn plan(&self) -> Plan {
        let mut steps: Vec<Step> = Vec::new();
        let (actual, desired) = (self.actual, &self.desired);
        let gone = self.matching.gone.iter();
        steps.extend(gone.map(|old| Step::DeleteEndpoint { ifindex: old.ifindex, slot: old.slot }));
        let nodes = desired.node_addresses.iter().map(|(address, kind)| (*address, *kind));
        let nodes =
            nodes.filter(|(address, kind)| actual.node_addresses.get(address) != Some(kind));
        steps.extend(nodes.map(|(address, kind)| Step::PutNodeAddress { address, kind }));

        let mut contents = Contents::new(actual, &self.old);
        let mut ways = self.first_ways(&mut contents);
        let mut now: BTreeMap<u32, Endpoint> = actual.endpoints.clone();
        for old in &self.matching.gone {
            now.remove(&old.ifindex);
        }
        for orphan in &self.matching.orphans {
            write(&mut steps, &mut now, orphan.closed);
        }
        steps.append(&mut contents.take_steps());
        self.replace(&mut steps, &mut now);
        self.switch(&mut steps, &mut now, &ways, |way| way.first);
        self.later_ways(&mut contents, &mut ways);
        steps.append(&mut contents.take_steps());
        steps.append(&mut self.moves.first(actual, desired, &self.numbers));
        self.switch(&mut steps, &mut now, &ways, |way| way.second);
        steps.append(&mut self.moves.last(desired, &self.numbers));
        // Those that begin wait until their connections are known, and nobody waits for them.
        let mut used = BTreeSet::new();
        let owed = self.owed();
        let orphans = self.matching.orphans.iter().map(|orphan| orphan.closed.ifindex);
        let orphans = orphans.filter(|ifindex| owed.contains(ifindex));
        steps.extend(orphans.map(|ifindex| Step::BumpEpoch { ifindex }));
        for begins in [false, true] {
            if begins {
                self.track(&mut steps, &mut now);
            }
            let matched = self.matching.matched.iter().zip(&ways);
            for (matched, [ingress, egress]) in matched.filter(|(m, _)| m.begins() == begins) {
                let (ingress, egress) = (ingress.last, egress.last);
                write(&mut steps, &mut now, Endpoint { ingress, egress, ..matched.new });
                used.extend([ingress, egress]);
            }
            let here = self.matching.matched.iter().filter(|m| m.begins() == begins);
            let here = here.map(|matched| matched.new.ifindex).filter(|here| owed.contains(here));
            steps.extend(here.map(|ifindex| Step::BumpEpoch { ifindex }));
        }
        let addresses = actual.node_addresses.keys();
        let gone = addresses.filter(|address| !desired.node_addresses.contains_key(address));
        steps.extend(gone.map(|address| Step::DeleteNodeAddress(*address)));
        steps.append(&mut contents.leftovers(&used));
        Plan {
            steps,
            pods_without_interface: self.matching.pods_without_interface.clone(),
            interfaces_without_pod: self.matching.interfaces_without_pod.clone(),
        }
    }

    /// Interfaces whose flows are to be judged anew: a verdict changes there, or an earlier plan
    /// that began to change one was left.
    pub(super) fn owed(&self) -> BTreeSet<u32> {
        let here = self.matching.matched.iter().map(|m| m.new.ifindex);
        let orphans = self.matching.orphans.iter();
        let here: BTreeSet<u32> =
            here.chain(orphans.clone().map(|orphan| orphan.closed.ifindex)).collect();
        let closing = orphans.filter(|orphan| !orphan.is_closed());
        let closing = closing.map(|orphan| orphan.closed.ifindex);
        let left = self.actual.owed.iter().copied();
        let all = verdict::changed(self).into_iter().chain(self.begin()).chain(left).chain(closing);
        all.filter(|ifindex| here.contains(ifindex)).collect()
    }

    /// Endpoints of pods that take the place of others: closed, until the tables know them.
    fn replace(&self, steps: &mut Vec<Step>, now: &mut BTreeMap<u32, Endpoint>) {
        for matched in &self.matching.matched {
            let Some(Endpoint { slot, .. }) = matched.replaced else { continue };
            let endpoint = matched.closed();
            now.insert(endpoint.ifindex, endpoint);
            steps.push(Step::ReplaceEndpoint { slot: *slot, endpoint });
        }
    }

    /// Learns the connections of pods that begin to be isolated (S30).
    fn track(&self, steps: &mut Vec<Step>, now: &mut BTreeMap<u32, Endpoint>) {
        for matched in self.matching.matched.iter().filter(|matched| matched.begins()) {
            write(steps, now, matched.tracked());
        }
        let interfaces: BTreeSet<u32> = self.begin().collect();
        if !interfaces.is_empty() {
            steps.push(Step::AdoptFlows { interfaces });
        }
    }

    /// Interfaces of pods that begin to be isolated.
    fn begin(&self) -> impl Iterator<Item = u32> + '_ {
        let begin = self.matching.matched.iter().filter(|matched| matched.begins());
        begin.map(|matched| matched.new.ifindex)
    }

    /// Contents for the time before the tables change.
    fn first_ways(&self, contents: &mut Contents<'_>) -> Vec<[Way; 2]> {
        let fresh = self.fresh();
        let mut known = BTreeMap::new();
        let mut first = |matched: &Matched<'_>, direction| {
            let (Some(old), Some(isolation)) = sides(matched, direction) else { return 0 };
            let egress = direction == Direction::Egress;
            let content = self.desired.content(isolation);
            *known.entry((old, content, egress)).or_insert_with(|| {
                let fresh = fresh.iter().filter(|(_, frontends)| egress || !**frontends);
                let fresh = fresh.map(|(number, frontends)| (*number, *frontends)).collect();
                let new = &self.new[content];
                contents.number(content::with_fresh(self.old_entries(old), new, &fresh))
            })
        };
        let of = |matched: &Matched<'_>, direction| Way {
            first: first(matched, direction),
            ..Way::default()
        };
        self.each_direction(of)
    }

    /// Contents for the time after.
    fn later_ways(&self, contents: &mut Contents<'_>, ways: &mut [[Way; 2]]) {
        let all = self.numbers.all();
        let removed = self.moves.removed_frontends();
        let removed: BTreeSet<u32> = removed.difference(&all).copied().collect();
        let directions = [Direction::Ingress, Direction::Egress];
        for (matched, ways) in self.matching.matched.iter().zip(ways) {
            for (way, direction) in ways.iter_mut().zip(directions) {
                let (old, isolation) = sides(matched, direction);
                let Some(isolation) = isolation else { continue };
                let new = &self.new[self.desired.content(isolation)];
                way.last = contents.number(new.clone());
                way.second = match old {
                    Some(old) if direction == Direction::Egress && !removed.is_empty() => {
                        let old = self.old_entries(old);
                        contents.number(content::with_removed(old, new, &removed))
                    }
                    Some(_) => way.last,
                    None => 0,
                };
            }
        }
    }

    fn each_direction(&self, mut of: impl FnMut(&Matched<'_>, Direction) -> Way) -> Vec<[Way; 2]> {
        let matched = self.matching.matched.iter();
        matched.map(|m| [of(m, Direction::Ingress), of(m, Direction::Egress)]).collect()
    }

    /// What a content of the kernel says; one that is missing, nothing.
    pub(super) fn old_entries(&self, content: u32) -> &Entries {
        static NONE: Entries = Entries::new();
        self.old.get(&content).unwrap_or(&NONE)
    }

    /// Numbers that this plan gives out, and whether they are of frontends.
    fn fresh(&self) -> BTreeMap<u32, bool> {
        let meanings = self.numbers.meanings(&self.desired);
        let fresh = meanings.filter(|(number, _)| self.numbers.fresh.contains(number));
        fresh.map(|(number, meaning)| (number, meaning.is_frontend())).collect()
    }

    /// Switches endpoints that stay isolated; all else about them waits for the last write.
    fn switch(
        &self,
        steps: &mut Vec<Step>,
        now: &mut BTreeMap<u32, Endpoint>,
        ways: &[[Way; 2]],
        content: fn(&Way) -> u32,
    ) {
        for (matched, [ingress, egress]) in self.matching.matched.iter().zip(ways) {
            let Some(old) = matched.old else { continue };
            let (ingress, egress) = (content(ingress), content(egress));
            write(steps, now, Endpoint { ingress, egress, ..*old });
        }
    }
}

/// The content that an endpoint has in a direction, and the isolation that it shall have.
pub(super) fn sides<'a>(
    matched: &Matched<'a>,
    direction: Direction,
) -> (Option<u32>, Option<&'a Isolation>) {
    let old = matched.old.map(|old| match direction {
        Direction::Ingress => old.ingress,
        Direction::Egress => old.egress,
    });
    let new = match direction {
        Direction::Ingress => matched.desired.isolation.ingress.as_ref(),
        Direction::Egress => matched.desired.isolation.egress.as_ref(),
    };
    (old.filter(|content| *content != 0), new)
}

/// Contents before and after, where an endpoint is isolated in both; and whether for egress.
fn distinct_changes(
    matching: &Matching<'_>,
    desired: &Indexed<'_>,
) -> BTreeSet<(u32, ContentIndex, bool)> {
    let mut changes = BTreeSet::new();
    for matched in &matching.matched {
        for direction in [Direction::Ingress, Direction::Egress] {
            if let (Some(old), Some(isolation)) = sides(matched, direction) {
                let content = desired.content(isolation);
                changes.insert((old, content, direction == Direction::Egress));
            }
        }
    }
    changes
}

/// Writes an endpoint where it is not so already.
fn write(steps: &mut Vec<Step>, now: &mut BTreeMap<u32, Endpoint>, endpoint: Endpoint) {
    if now.insert(endpoint.ifindex, endpoint) != Some(endpoint) {
        steps.push(Step::PutEndpoint(endpoint));
    }
}
