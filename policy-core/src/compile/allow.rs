//! Stage 4: what each distinct set of policies allows to each identity.
//!
//! Input: the policies of each pod, and identities that came into use or fell out of it. Output: the
//! allow maps that were made, and the entries that changed in those that stay. Pods that the
//! same policies isolate share one, here and in the kernel:
//!
//! ```text
//! ingress, [allow-web]         10 pods    one allow map: identity a -> tcp 80
//! ingress, [allow-web, deny]    1 pod     another allow map
//! egress,  [allow-web]                    no allow map: the policy isolates for ingress only
//! ```

mod grants;
mod id_map;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::{
        desired::AllowMap,
        identities::{Identities, IdentitiesDelta, IdentityId},
        identity_key::Identity,
        index::Index,
        registry::{Id, Registry},
        rules::{PolicyId, Rules, RulesDelta, SelectedPolicy, lists::ListId, rule::ResolvedPorts},
    },
    model::{Direction, ObjectName, PerDirection, Pod, Snapshot},
};

pub(crate) use id_map::IdAllowMap;

/// Id of an allow map.
pub(crate) type AllowMapId = Id<AllowMapKey>;

/// What an allow map depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AllowMapKey {
    direction: Direction,
    policies: Vec<PolicyId>,
    /// What the named ports of ingress rules resolve to on the pod; for egress nothing.
    names: ResolvedPorts,
}

#[derive(Clone, Debug)]
struct SharedMap {
    by_id: IdAllowMap,
    /// The same by value. Outcomes of frontends are the next stage's.
    by_value: Arc<AllowMap>,
}

/// Every allow map, with one use for each pod and direction that has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allow {
    maps: Registry<AllowMapKey, SharedMap>,
    by_list: Index<ListId, AllowMapId>,
    /// Allow maps that resolve named ports at every address.
    resolving: BTreeSet<AllowMapId>,
    /// The allow maps of each pod of the scope.
    subjects: BTreeMap<ObjectName, PerDirection<Option<AllowMapId>>>,
}

/// What a change did to the allow maps.
#[derive(Debug, Default)]
pub(crate) struct AllowDelta {
    /// Allow maps that were made.
    pub(crate) added: BTreeSet<AllowMapId>,
    /// Identities with another entry, by allow map, in allow maps that stay.
    pub(crate) entries: BTreeMap<AllowMapId, BTreeSet<IdentityId>>,
    /// Allow maps that no pod has any longer.
    pub(crate) removed: Vec<AllowMapId>,
}

impl Allow {
    /// Brings the allow maps up to date with identities, then with the policies of pods.
    pub(crate) fn update(
        &mut self,
        snapshot: &Snapshot,
        (rules, changed): (&Rules, &RulesDelta),
        (identities, delta): (&Identities, &IdentitiesDelta),
    ) -> AllowDelta {
        let mut done = AllowDelta::default();
        // Removed identities come first: an identity that comes back under another id has the same
        // key in the allow map, and its entry must survive.
        for gone in &delta.removed {
            for map in self.depending_on(&gone.value.lists, gone.value.names()) {
                if self.remove_entry(map, gone.id, &Some(gone.value.key())) {
                    done.entries.entry(map).or_default().insert(gone.id);
                }
            }
        }
        for &id in &delta.added {
            let Some(identity) = identities.get(id) else { continue };
            for map in self.depending_on(&identity.lists, identity.names()) {
                if self.add_entry(map, id, identities) {
                    done.entries.entry(map).or_default().insert(id);
                }
            }
        }
        self.update_subjects(snapshot, rules, &changed.subjects, identities);
        // New allow maps were made with all identities in use and need no entries from above.
        let maps = self.maps.take_delta();
        for &id in &maps.added {
            let Some(SharedMap { by_id, .. }) = self.maps.get(id) else { continue };
            for list in by_id.lists() {
                self.by_list.insert(list, id);
            }
            if by_id.resolves_everywhere() {
                self.resolving.insert(id);
            }
        }
        for gone in maps.removed {
            for list in gone.value.by_id.lists() {
                self.by_list.remove(&list, gone.id);
            }
            self.resolving.remove(&gone.id);
            done.entries.remove(&gone.id);
            done.removed.push(gone.id);
        }
        done.added = maps.added.into_iter().collect();
        done
    }

    /// The allow maps that can have an entry for an identity.
    fn depending_on(&self, lists: &[ListId], names: &ResolvedPorts) -> BTreeSet<AllowMapId> {
        // Other allow maps give the identity their default, now as before.
        let by_list = lists.iter().flat_map(|list| self.by_list.get(list));
        let resolving = (!names.is_empty()).then_some(&self.resolving);
        by_list.chain(resolving.into_iter().flatten().copied()).collect()
    }

    /// Adds what an allow map allows to an identity; returns whether it has an entry.
    fn add_entry(&mut self, map: AllowMapId, id: IdentityId, identities: &Identities) -> bool {
        let Some(SharedMap { by_id, by_value }) = self.maps.get_mut(map) else { return false };
        by_id.insert(id, identities);
        let Some(ports) = by_id.entry(id) else { return false };
        let identity = identities.identity(Some(id));
        // Often the same entry under another id: the map is shared with the result before, and is copied
        // only for a real change.
        if by_value.ports.get(&identity) != Some(ports) {
            let ports_by_value = Arc::make_mut(&mut Arc::make_mut(by_value).ports);
            ports_by_value.insert(identity, ports.clone());
        }
        true
    }

    /// Removes an identity from an allow map; returns whether it had an entry.
    fn remove_entry(&mut self, map: AllowMapId, id: IdentityId, identity: &Identity) -> bool {
        let Some(SharedMap { by_id, by_value }) = self.maps.get_mut(map) else { return false };
        let had_entry = by_id.remove(id);
        if had_entry {
            Arc::make_mut(&mut Arc::make_mut(by_value).ports).remove(identity);
        }
        had_entry
    }

    /// Gives pods the allow maps of their policies.
    fn update_subjects(
        &mut self,
        snapshot: &Snapshot,
        rules: &Rules,
        names: &BTreeSet<ObjectName>,
        identities: &Identities,
    ) {
        // New uses come first: an allow map that stays in use is not made again.
        let mut released = Vec::new();
        for name in names {
            let before = match (rules.subjects().get(name), snapshot.pods.get(name)) {
                (Some(subject), Some(pod)) => {
                    let maps = PerDirection::from_fn(|direction| {
                        let policies = subject.policies.get(direction);
                        let isolated = !policies.is_empty();
                        isolated.then(|| self.acquire(direction, policies, pod, rules, identities))
                    });
                    self.subjects.insert(name.clone(), maps)
                }
                _ => self.subjects.remove(name),
            };
            released.extend(before.into_iter().flatten().flatten());
        }
        for id in released {
            self.maps.release(id);
        }
    }

    /// The allow map of some policies, for one more use.
    fn acquire(
        &mut self,
        direction: Direction,
        policies: &[PolicyId],
        pod: &Pod,
        rules: &Rules,
        identities: &Identities,
    ) -> AllowMapId {
        let compiled = || rules.policies(policies).map(|(_, selected)| selected);
        let names = names_on(compiled(), direction, pod);
        let key = AllowMapKey { direction, policies: policies.to_vec(), names };
        self.maps.acquire(&key).unwrap_or_else(|| {
            let policies = compiled().map(|selected| &*selected.policy);
            let by_id = IdAllowMap::new(policies, direction, pod, rules.lists(), identities);
            let ports = Arc::new(by_id.ports(identities));
            let by_value = Arc::new(AllowMap { ports, ..AllowMap::default() });
            self.maps.insert(key, SharedMap { by_id, by_value })
        })
    }

    /// The allow maps of each pod of the scope.
    pub(crate) fn subjects(&self) -> &BTreeMap<ObjectName, PerDirection<Option<AllowMapId>>> {
        &self.subjects
    }

    /// An allow map.
    pub(crate) fn get(&self, id: AllowMapId) -> Option<&IdAllowMap> {
        self.maps.get(id).map(|shared| &shared.by_id)
    }

    /// An allow map by id, and by value.
    pub(crate) fn with_map(&self, id: AllowMapId) -> Option<(&IdAllowMap, &Arc<AllowMap>)> {
        self.maps.get(id).map(|shared| (&shared.by_id, &shared.by_value))
    }

    /// The allow maps of a direction.
    pub(crate) fn of(&self, direction: Direction) -> Vec<AllowMapId> {
        let all = self.maps.iter().filter(|(_, key, _)| key.direction == direction);
        all.map(|(id, ..)| id).collect()
    }

    /// How many ids are spent on allow maps that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.maps.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.maps.is_sound()
    }
}

/// What the names of ingress rules resolve to on a pod.
fn names_on<'a>(
    policies: impl Iterator<Item = &'a SelectedPolicy>,
    direction: Direction,
    pod: &Pod,
) -> ResolvedPorts {
    if direction == Direction::Egress {
        return ResolvedPorts::new();
    }
    let rules = policies.flat_map(|selected| selected.policy.rules(direction));
    rules.flat_map(|rule| rule.ports.names_on(&pod.ports)).collect()
}
