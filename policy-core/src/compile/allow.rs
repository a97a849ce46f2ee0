//! Stage 4: what each distinct set of policies allows to each identity.
//!
//! In: the policies of each pod, and identities that came into use or fell out of it. Out: the
//! tables that were made, and the entries that changed in those that stay. Pods that the
//! same policies isolate share a table and therefore an allow map in the kernel:
//!
//! ```text
//! ingress, [allow-web]         10 pods    one table: identity a -> tcp 80
//! ingress, [allow-web, deny]    1 pod     another table
//! egress,  [allow-web]                    no table: the policy isolates for ingress only
//! ```

mod grants;
mod table;

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

pub(crate) use table::AllowTable;

/// Id of a table.
pub(crate) type TableId = Id<TableKey>;

/// What a table depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableKey {
    direction: Direction,
    policies: Vec<PolicyId>,
    /// What the named ports of ingress rules resolve to on the pod; for egress nothing.
    names: ResolvedPorts,
}

#[derive(Clone, Debug)]
struct Shared {
    table: AllowTable,
    /// The table as the kernel gets it, with outcomes of frontends.
    allow_map: Arc<AllowMap>,
}

/// Every table, with one use for each pod and direction that has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allow {
    tables: Registry<TableKey, Shared>,
    by_list: Index<ListId, TableId>,
    /// Tables that resolve named ports at every address.
    resolving: BTreeSet<TableId>,
    /// The tables of each pod of the scope.
    subjects: BTreeMap<ObjectName, PerDirection<Option<TableId>>>,
}

/// What a change did to the tables.
#[derive(Debug, Default)]
pub(crate) struct AllowDelta {
    /// Tables that were made.
    pub(crate) added: BTreeSet<TableId>,
    /// Identities with another entry, by table, in tables that stay.
    pub(crate) entries: BTreeMap<TableId, BTreeSet<IdentityId>>,
}

impl Allow {
    /// Brings the tables up to date with identities, then with the policies of pods.
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
            for table in self.depending_on(&gone.value.lists, gone.value.names()) {
                if self.remove_entry(table, gone.id, &Some(gone.value.key())) {
                    done.entries.entry(table).or_default().insert(gone.id);
                }
            }
        }
        for &id in &delta.added {
            let Some(identity) = identities.get(id) else { continue };
            for table in self.depending_on(&identity.lists, identity.names()) {
                if self.add_entry(table, id, identities) {
                    done.entries.entry(table).or_default().insert(id);
                }
            }
        }
        self.update_subjects(snapshot, rules, &changed.subjects, identities);
        // New tables were made with all identities in use and need no entries from above.
        let tables = self.tables.take_delta();
        for &id in &tables.added {
            let Some(Shared { table, .. }) = self.tables.get(id) else { continue };
            for list in table.lists() {
                self.by_list.insert(list, id);
            }
            if table.resolves_everywhere() {
                self.resolving.insert(id);
            }
        }
        for gone in tables.removed {
            for list in gone.value.table.lists() {
                self.by_list.remove(&list, gone.id);
            }
            self.resolving.remove(&gone.id);
            done.entries.remove(&gone.id);
        }
        done.added = tables.added.into_iter().collect();
        done
    }

    /// The tables that can have an entry for an identity.
    fn depending_on(&self, lists: &[ListId], names: &ResolvedPorts) -> BTreeSet<TableId> {
        // Other tables give the identity their default, now as before.
        let by_list = lists.iter().flat_map(|list| self.by_list.get(list));
        let resolving = (!names.is_empty()).then_some(&self.resolving);
        by_list.chain(resolving.into_iter().flatten().copied()).collect()
    }

    /// Adds what a table allows to an identity; returns whether it has an entry.
    fn add_entry(&mut self, table: TableId, id: IdentityId, identities: &Identities) -> bool {
        let Some(Shared { table, allow_map }) = self.tables.get_mut(table) else { return false };
        table.insert(id, identities);
        let Some(ports) = table.entry(id) else { return false };
        let identity = identities.identity(Some(id));
        if allow_map.ports.get(&identity) != Some(ports) {
            Arc::make_mut(allow_map).ports.insert(identity, ports.clone());
        }
        true
    }

    /// Removes an identity from a table; returns whether it had an entry.
    fn remove_entry(&mut self, table: TableId, id: IdentityId, identity: &Identity) -> bool {
        let Some(Shared { table, allow_map }) = self.tables.get_mut(table) else { return false };
        let had_entry = table.remove(id);
        if had_entry {
            Arc::make_mut(allow_map).ports.remove(identity);
        }
        had_entry
    }

    /// Gives pods the tables of their policies.
    fn update_subjects(
        &mut self,
        snapshot: &Snapshot,
        rules: &Rules,
        names: &BTreeSet<ObjectName>,
        identities: &Identities,
    ) {
        // New uses come first: a table that stays in use is not made again.
        let mut released = Vec::new();
        for name in names {
            let before = match (rules.subjects().get(name), snapshot.pods.get(name)) {
                (Some(subject), Some(pod)) => {
                    let tables = PerDirection::from_fn(|direction| {
                        let policies = subject.policies.get(direction);
                        let isolated = !policies.is_empty();
                        isolated.then(|| self.acquire(direction, policies, pod, rules, identities))
                    });
                    self.subjects.insert(name.clone(), tables)
                }
                _ => self.subjects.remove(name),
            };
            released.extend(before.into_iter().flatten().flatten());
        }
        for id in released {
            self.tables.release(id);
        }
    }

    /// The table of some policies, for one more use.
    fn acquire(
        &mut self,
        direction: Direction,
        policies: &[PolicyId],
        pod: &Pod,
        rules: &Rules,
        identities: &Identities,
    ) -> TableId {
        let compiled = || rules.policies(policies).map(|(_, selected)| selected);
        let names = names_on(compiled(), direction, pod);
        let key = TableKey { direction, policies: policies.to_vec(), names };
        self.tables.acquire(&key).unwrap_or_else(|| {
            let policies = compiled().map(|selected| &*selected.policy);
            let table = AllowTable::new(policies, direction, pod, rules.lists(), identities);
            let allow_map = Arc::new(table.allow_map(identities));
            self.tables.insert(key, Shared { table, allow_map })
        })
    }

    /// The tables of each pod of the scope.
    pub(crate) fn subjects(&self) -> &BTreeMap<ObjectName, PerDirection<Option<TableId>>> {
        &self.subjects
    }

    /// A table.
    pub(crate) fn get(&self, id: TableId) -> Option<&AllowTable> {
        self.tables.get(id).map(|shared| &shared.table)
    }

    /// A table and its allow map.
    pub(crate) fn with_map(&self, id: TableId) -> Option<(&AllowTable, &Arc<AllowMap>)> {
        self.tables.get(id).map(|shared| (&shared.table, &shared.allow_map))
    }

    /// A table and its allow map, to change the latter.
    pub(crate) fn with_map_mut(
        &mut self,
        id: TableId,
    ) -> Option<(&AllowTable, &mut Arc<AllowMap>)> {
        self.tables.get_mut(id).map(|shared| (&shared.table, &mut shared.allow_map))
    }

    /// The tables of a direction.
    pub(crate) fn of(&self, direction: Direction) -> Vec<TableId> {
        let all = self.tables.iter().filter(|(_, key, _)| key.direction == direction);
        all.map(|(id, ..)| id).collect()
    }

    /// How many ids are spent on tables that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.tables.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.tables.is_sound()
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
