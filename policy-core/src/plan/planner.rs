//! Puts the steps of a plan in order; the documentation of the module `plan` explains the order.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::endpoint::{Endpoint, flags};

use crate::{
    desired::{Desired, IdentityKey},
    model::{Direction, PerDirection},
};

use super::{
    actual::Actual,
    allow_maps::{self, AllowMapIds},
    endpoint::{self, MatchedPod, Matching},
    entry::{self, Entries},
    ids::{AllowMapChange, IdentityIds},
    indexed::{AllowMapIndex, Indexed},
    input::{Interfaces, PlanOptions},
    lookups::{self, Lookup},
    step::{Plan, Step},
    tables::TableChanges,
    verdict::VerdictChanges,
    writes,
};

/// Both states, compared.
pub(super) struct Planner<'a> {
    actual: &'a Actual,
    desired: Indexed<'a>,
    matching: Matching<'a>,
    /// Allow maps of the kernel, decoded, by id.
    old: BTreeMap<u32, Entries>,
    /// Desired allow maps, by [`AllowMapIndex`]; their entries by id.
    new: Vec<Entries>,
    tables: TableChanges,
    ids: IdentityIds,
    /// Results of look-ups before and after.
    lookups: BTreeSet<(Lookup, Lookup)>,
}

/// Ids of the allow maps that an endpoint uses in one direction during the plan; 0 where it is not
/// isolated.
#[derive(Clone, Copy, Default)]
struct Versions {
    /// While the tables change: old outcomes of old ids, new outcomes of fresh ids.
    before_tables: u32,
    /// While frontends are deleted: new outcomes, and old ones of the deleted frontends.
    before_removals: u32,
    /// At the end: as compiled.
    compiled: u32,
}

/// The steps so far, and the endpoints as they are after them.
struct Steps {
    steps: Vec<Step>,
    endpoints: BTreeMap<u32, Endpoint>,
}

impl Steps {
    /// Adds a write of an endpoint, unless it has that value already.
    fn put(&mut self, endpoint: Endpoint) {
        if self.endpoints.insert(endpoint.ifindex, endpoint) != Some(endpoint) {
            self.steps.push(Step::PutEndpoint(endpoint));
        }
    }

    /// Adds a write of an endpoint over that of another pod. Even where the value is the same, the
    /// dataplane must drop what belongs to the pod before it, such as flows, which the new pod would
    /// otherwise inherit with its address.
    fn replace(&mut self, slot: u32, endpoint: Endpoint) {
        self.endpoints.insert(endpoint.ifindex, endpoint);
        self.steps.push(Step::ReplaceEndpoint { slot, endpoint });
    }

    fn extend(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.steps.extend(steps);
    }

    fn bump(&mut self, interfaces: impl Iterator<Item = u32>) {
        self.extend(interfaces.map(|ifindex| Step::BumpEpoch { ifindex }));
    }
}

impl<'a> Planner<'a> {
    /// Compares both states.
    pub(super) fn new(
        actual: &'a Actual,
        desired: &'a Desired,
        interfaces: &'a Interfaces,
        options: PlanOptions,
    ) -> Self {
        let matching = endpoint::matching(actual, desired, interfaces, options);
        let ids = actual.allow_maps.keys();
        let old: BTreeMap<_, _> =
            ids.map(|&allow_map| (allow_map, actual.entries(allow_map))).collect();
        let desired = Indexed::of(desired);
        let tables = TableChanges::between(actual, &desired);
        let changes = distinct_changes(&matching, &desired);
        let changes: Vec<_> = changes
            .iter()
            .map(|&(old_map, new_map, direction)| AllowMapChange {
                old: entry::of_allow_map(&old, old_map),
                new: &desired.allow_maps[new_map],
                direction,
            })
            .collect();
        // Each result needs the one before: whether an id may stay depends on the tables and on the
        // ports of the allow maps, which are still by index; look-ups and allow maps by id need the
        // ids.
        let ids = IdentityIds::assign(actual, &desired, &tables, &changes);
        let lookups = lookups::distinct(&tables, actual, &desired, &ids);
        let allow_maps = desired.allow_maps.iter();
        let new = allow_maps.map(|entries| allow_maps::by_id(entries, &ids)).collect();
        Self { actual, desired, matching, old, new, tables, ids, lookups }
    }

    /// The key of every id from now on. Old ids stay until no map refers to them.
    pub(super) fn identity_keys(&self) -> BTreeMap<u32, IdentityKey> {
        let used = self.actual.used_ids();
        // A drop during the plan may carry an old id or a new one; both must be attributed.
        let old = self.actual.identity_keys.iter().filter(|(id, _)| used.contains(id));
        let old = old.map(|(id, key)| (*id, key.clone()));
        let new = self.ids.identity_keys(&self.desired);
        old.chain(new.map(|(id, key)| (id, key.clone()))).collect()
    }

    /// Puts the steps in order.
    pub(super) fn plan(&self) -> Plan {
        let (actual, desired) = (self.actual, &self.desired);
        // The numbers are those of the order in the documentation of `plan`. 1: what is gone.
        let mut steps = Steps { steps: Vec::new(), endpoints: actual.endpoints.clone() };
        self.delete_gone(&mut steps);
        steps.extend(self.new_node_addresses());
        for orphan in &self.matching.orphans {
            steps.put(orphan.closed);
        }
        for (replaced, closed) in &self.matching.refused {
            match replaced {
                Some(old) => steps.replace(old.slot, *closed),
                None => steps.put(*closed),
            }
        }

        // 2: allow maps that are right before and while the tables change.
        let mut allow_maps = AllowMapIds::new(actual, &self.old);
        let mut versions = self.versions_before_tables(&mut allow_maps);
        steps.extend(allow_maps.take_steps());
        self.replace(&mut steps);
        self.switch(&mut steps, &versions, |version| version.before_tables);

        // 3 and 4: the tables, then the switch to the allow maps as compiled, which are written first.
        self.add_later_versions(&mut allow_maps, &mut versions);
        steps.extend(allow_maps.take_steps());
        steps.extend(writes::in_transition(&self.tables, actual, desired, &self.ids));
        self.switch(&mut steps, &versions, |version| version.before_removals);
        steps.extend(writes::after_switch(&self.tables, desired, &self.ids));

        // 5: every look-up gives the new verdict from here on, so that a flow judged now stays right.
        let bumps = self.bumps();
        let orphans = self.matching.orphans.iter().map(|orphan| orphan.closed.ifindex);
        steps.bump(orphans.filter(|ifindex| bumps.contains(ifindex)));
        let mut used = self.finish(&mut steps, &versions, &bumps, false);
        // 6: reading conntrack takes time, so these come last: no other endpoint waits for them.
        self.track(&mut steps);
        used.extend(self.finish(&mut steps, &versions, &bumps, true));

        // 7: what nothing refers to any more.
        steps.extend(self.old_node_addresses());
        steps.extend(allow_maps.delete_unused(&used));
        Plan {
            steps: steps.steps,
            pods_without_interface: self.matching.pods_without_interface.clone(),
            interfaces_without_pod: self.matching.interfaces_without_pod.clone(),
            pods_without_slot: self.matching.pods_without_slot.clone(),
        }
    }

    /// Interfaces with flows to rejudge: a verdict changes there, or an abandoned plan
    /// started to change one.
    pub(super) fn bumps(&self) -> BTreeSet<u32> {
        let orphans = || self.matching.orphans.iter();
        let matched = self.matching.matched.iter().map(|matched| matched.new.ifindex);
        let present: BTreeSet<u32> =
            matched.chain(orphans().map(|orphan| orphan.closed.ifindex)).collect();
        // A flow of an orphan was allowed by rules that no longer apply: nothing may pass it now.
        let closing = orphans().filter(|orphan| !orphan.is_closed());
        let closing = closing.map(|orphan| orphan.closed.ifindex);
        // The plan before may have ended after a switch and before the bump: its flows are still judged
        // by the old verdicts.
        let pending = self.actual.pending_bumps.iter().copied();
        let (desired, old, new, lookups) = (&self.desired, &self.old, &self.new, &self.lookups);
        let verdicts = VerdictChanges { desired, old, new, lookups };
        let changed = verdicts.interfaces(&self.matching.matched).into_iter();
        let all = changed.chain(self.becoming_isolated()).chain(pending).chain(closing);
        all.filter(|ifindex| present.contains(ifindex)).collect()
    }

    fn delete_gone(&self, steps: &mut Steps) {
        for &&Endpoint { ifindex, slot, .. } in &self.matching.gone {
            steps.endpoints.remove(&ifindex);
            steps.extend([Step::DeleteEndpoint { ifindex, slot }]);
        }
    }

    /// Writes of node addresses. They are first, as a node's own processes always reach its pods
    /// (S37).
    fn new_node_addresses(&self) -> impl Iterator<Item = Step> {
        let wanted = self.desired.node_addresses.iter();
        let new =
            wanted.filter(|(address, kind)| self.actual.node_addresses.get(address) != Some(kind));
        new.map(|(&address, &kind)| Step::PutNodeAddress { address, kind })
    }

    fn old_node_addresses(&self) -> impl Iterator<Item = Step> {
        let there = self.actual.node_addresses.keys();
        let old = there.filter(|address| !self.desired.node_addresses.contains_key(address));
        old.map(|address| Step::DeleteNodeAddress(*address))
    }

    /// Writes closed endpoints over those of other pods: the tables do not have the new pod's
    /// identities yet.
    fn replace(&self, steps: &mut Steps) {
        for matched in &self.matching.matched {
            if let Some(Endpoint { slot, .. }) = matched.replaced {
                steps.replace(*slot, matched.closed());
            }
        }
    }

    /// Makes endpoints that become isolated track, and adopts their connections (S30).
    fn track(&self, steps: &mut Steps) {
        // Tracking starts before conntrack is read. A connection that begins in between is recorded by the
        // programs, one that began earlier is in the dump, and none is missed:
        //
        //   0 ms   PutEndpoint (tracking)     every packet passes and is recorded
        //   5 ms   AdoptFlows                 flows of earlier connections are inserted
        //   9 ms   PutEndpoint (isolated), BumpEpoch: each flow is judged as its initiator's connection
        for matched in self.matching.matched.iter().filter(|matched| matched.becomes_isolated()) {
            steps.put(matched.tracked());
        }
        let interfaces: BTreeSet<u32> = self.becoming_isolated().collect();
        if !interfaces.is_empty() {
            steps.extend([Step::AdoptFlows { interfaces }]);
        }
    }

    /// Interfaces of endpoints that become isolated.
    fn becoming_isolated(&self) -> impl Iterator<Item = u32> + '_ {
        let matched = self.matching.matched.iter().filter(|matched| matched.becomes_isolated());
        matched.map(|matched| matched.new.ifindex)
    }

    /// Switches endpoints that exist to a version of their allow maps. Other fields change only with
    /// the last write, as some change verdicts too.
    fn switch(
        &self,
        steps: &mut Steps,
        versions: &[PerDirection<Versions>],
        version: fn(Versions) -> u32,
    ) {
        for (matched, versions) in self.matching.matched.iter().zip(versions) {
            let Some(old) = matched.old else { continue };
            let PerDirection { ingress, egress } = versions.map(version);
            // An endpoint that opens and goes on recording must record at every moment in between.
            let flags = old.flags | matched.new.flags & flags::TRACKING;
            steps.put(Endpoint { ingress, egress, flags, ..*old });
        }
    }

    /// Writes the final endpoints, of those that become isolated or of all others, and bumps their
    /// epochs; returns the allow maps that they use.
    fn finish(
        &self,
        steps: &mut Steps,
        versions: &[PerDirection<Versions>],
        bumps: &BTreeSet<u32>,
        becoming_isolated: bool,
    ) -> BTreeSet<u32> {
        let mut used = BTreeSet::new();
        let mut written = Vec::new();
        let matched = self.matching.matched.iter().zip(versions);
        for (matched, versions) in
            matched.filter(|(matched, _)| matched.becomes_isolated() == becoming_isolated)
        {
            let PerDirection { ingress, egress } = versions.map(|version| version.compiled);
            steps.put(Endpoint { ingress, egress, ..matched.new });
            used.extend([ingress, egress]);
            written.push((matched.new.ifindex, egress != 0));
        }
        written.retain(|(ifindex, _)| bumps.contains(ifindex));
        let callers = written.iter().filter(|(_, egress)| *egress);
        self.record_backends(steps, callers.map(|(ifindex, _)| *ifindex).collect());
        // The bump follows the write: a flow that is judged in between is only judged once more.
        // The other way round, a flow judged by the old allow map would carry the new epoch for
        // ever.
        steps.bump(written.into_iter().map(|(ifindex, _)| ifindex));
        used
    }

    /// Records the backends of live connections, before flows to their frontends are judged again.
    fn record_backends(&self, steps: &mut Steps, interfaces: BTreeSet<u32>) {
        if interfaces.is_empty() || self.tables.frontends.is_empty() {
            return;
        }
        let deleted = self.tables.frontends.iter().filter_map(|(&frontend, &(old, new))| {
            // Of an id without a key, as after a restart, the stricter reading is taken.
            let key = self.actual.identity_keys.get(&old.filter(|_| new.is_none())?);
            Some((frontend, key.is_none_or(IdentityKey::checks_frontend)))
        });
        steps.extend([Step::RecordBackends { interfaces, deleted: deleted.collect() }]);
    }

    /// The allow maps of each matched endpoint while the tables change.
    fn versions_before_tables(
        &self,
        allow_maps: &mut AllowMapIds<'_>,
    ) -> Vec<PerDirection<Versions>> {
        let fresh = self.fresh_ids();
        let mut known = BTreeMap::new();
        let mut version = |matched: &MatchedPod<'_>, direction| {
            // Where one of the two states does not isolate, there are no two sets of verdicts to hold
            // apart: the endpoint is open until it is switched, or from then on.
            let (Some(old), Some(new)) = matched.isolation(direction) else { return 0 };
            let egress = direction == Direction::Egress;
            let allow_map = self.desired.allow_map(new);
            // The endpoints of a node have few pairs of allow maps, and one transition for each pair.
            *known.entry((old, allow_map, egress)).or_insert_with(|| {
                let fresh = fresh.iter().filter(|(_, is_frontend)| egress || !**is_frontend);
                let fresh = fresh.map(|(id, is_frontend)| (*id, *is_frontend)).collect();
                let (old, new) = (entry::of_allow_map(&self.old, old), &self.new[allow_map]);
                allow_maps.id(allow_maps::before_tables(old, new, &fresh))
            })
        };
        let versions = |matched: &MatchedPod<'_>| {
            PerDirection::from_fn(|direction| Versions {
                before_tables: version(matched, direction),
                ..Versions::default()
            })
        };
        self.matching.matched.iter().map(versions).collect()
    }

    /// Adds the allow maps for the time after the tables have changed.
    fn add_later_versions(
        &self,
        allow_maps: &mut AllowMapIds<'_>,
        versions: &mut [PerDirection<Versions>],
    ) {
        let all = self.ids.all();
        let removed = self.tables.removed_frontends();
        // An id that other frontends keep has its new outcome: of the removed frontends' ids 4 and 5, of
        // which a frontend that stays has 5, only 4 keeps its old outcome until it is deleted.
        let removed: BTreeSet<u32> = removed.difference(&all).copied().collect();
        for (matched, versions) in self.matching.matched.iter().zip(versions) {
            for (direction, versions) in versions.iter_mut() {
                let (old, new) = matched.isolation(direction);
                let Some(new) = new else { continue };
                let new = &self.new[self.desired.allow_map(new)];
                versions.compiled = allow_maps.id(new.clone());
                versions.before_removals = match old {
                    Some(old) if direction == Direction::Egress && !removed.is_empty() => {
                        let old = entry::of_allow_map(&self.old, old);
                        allow_maps.id(allow_maps::before_removals(old, new, &removed))
                    }
                    Some(_) => versions.compiled,
                    None => 0,
                };
            }
        }
    }

    /// Ids that this plan gives out, and whether each is one of frontends.
    fn fresh_ids(&self) -> BTreeMap<u32, bool> {
        let identity_keys = self.ids.identity_keys(&self.desired);
        let fresh = identity_keys.filter(|(id, _)| self.ids.fresh.contains(id));
        fresh.map(|(id, key)| (id, key.is_frontend())).collect()
    }
}

/// Allow maps before and after, where an endpoint is isolated in both states; and the direction.
fn distinct_changes(
    matching: &Matching<'_>,
    desired: &Indexed<'_>,
) -> BTreeSet<(u32, AllowMapIndex, Direction)> {
    let mut changes = BTreeSet::new();
    for matched in &matching.matched {
        for direction in Direction::BOTH {
            if let (Some(old), Some(new)) = matched.isolation(direction) {
                changes.insert((old, desired.allow_map(new), direction));
            }
        }
    }
    changes
}
