//! AllowTables and contents: one for each distinct outcome, shared by all pods that have it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    compile::{
        allow::table::AllowTable,
        identities::numbers::{IdentityChanges, IdentityId, Numbers},
        peers::lists::{ListId, Lists},
        rules::{
            rule::{CompiledPolicy, ResolvedPorts},
            selection_index::{PolicyId, SelectionIndex},
        },
    },
    desired::AllowMap,
    model::{Direction, Pod},
};

/// Number of a table, never given out again.
pub(crate) type TableId = u64;

/// What a table depends on: policies, and what their names resolve to on the pod (ingress only).
type Key = (Direction, Vec<PolicyId>, ResolvedPorts);

/// Distinct tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowTables {
    all: BTreeMap<TableId, Kept>,
    index: HashMap<Key, TableId>,
    by_list: HashMap<ListId, BTreeSet<TableId>>,
    /// Those that resolve named ports at every address.
    asking: BTreeSet<TableId>,
    next: TableId,
    new: BTreeSet<TableId>,
}

#[derive(Clone, Debug)]
struct Kept {
    key: Key,
    table: AllowTable,
    content: Arc<AllowMap>,
    uses: usize,
}

/// What of the tables changed.
#[derive(Debug, Default)]
pub(crate) struct TableChanges {
    /// AllowTables that were made.
    pub(crate) new: BTreeSet<TableId>,
    /// Meanings with another entry in tables that were there.
    pub(crate) entries: BTreeMap<TableId, BTreeSet<IdentityId>>,
}

impl AllowTables {
    /// The number of the table of some policies for one more use.
    pub(crate) fn acquire(
        &mut self,
        direction: Direction,
        policies: &[PolicyId],
        pod: &Pod,
        force: &SelectionIndex,
        (lists, numbers): (&Lists, &Numbers),
    ) -> TableId {
        let rules = || policies.iter().filter_map(|id| force.get(*id)).map(|one| &*one.policy);
        let key = (direction, policies.to_vec(), resolved(rules(), direction, pod));
        if let Some(&id) = self.index.get(&key) {
            if let Some(kept) = self.all.get_mut(&id) {
                kept.uses += 1;
            }
            return id;
        }
        let table = AllowTable::new(rules(), direction, pod, lists, numbers);
        self.next += 1;
        let id = self.next;
        for list in table.lists() {
            self.by_list.entry(list).or_default().insert(id);
        }
        if table.asks_all() {
            self.asking.insert(id);
        }
        let content = AllowMap { ports: table.by_value(numbers), frontends: BTreeMap::new() };
        self.index.insert(key.clone(), id);
        self.all.insert(id, Kept { key, table, content: Arc::new(content), uses: 1 });
        self.new.insert(id);
        id
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: TableId) {
        let Some(kept) = self.all.get_mut(&id) else { return };
        kept.uses -= 1;
        if kept.uses > 0 {
            return;
        }
        let Some(gone) = self.all.remove(&id) else { return };
        self.index.remove(&gone.key);
        self.asking.remove(&id);
        self.new.remove(&id);
        for list in gone.table.lists() {
            if let Some(tables) = self.by_list.get_mut(&list) {
                tables.remove(&id);
                if tables.is_empty() {
                    self.by_list.remove(&list);
                }
            }
        }
    }

    /// Brings the entries of all tables up to date with the meanings.
    pub(crate) fn follow(&mut self, changes: &IdentityChanges, numbers: &Numbers) -> TableChanges {
        let mut done = TableChanges::default();
        let went = changes.went.iter().map(|id| (*id, false));
        for (id, comes) in went.chain(changes.came.iter().map(|id| (*id, true))) {
            for table in self.that_know(id, numbers) {
                let Some(kept) = self.all.get_mut(&table) else { continue };
                let identity = numbers.identity(id);
                if comes {
                    kept.table.learn(id, numbers);
                    let Some(ports) = kept.table.entry(id) else { continue };
                    if kept.content.ports.get(&identity) != Some(ports) {
                        let content = Arc::make_mut(&mut kept.content);
                        content.ports.insert(identity, ports.clone());
                    }
                } else if kept.table.forget(id) {
                    Arc::make_mut(&mut kept.content).ports.remove(&identity);
                } else {
                    continue;
                }
                done.entries.entry(table).or_default().insert(id);
            }
        }
        done
    }

    /// The tables in which a meaning can have an entry.
    fn that_know(&self, id: IdentityId, numbers: &Numbers) -> BTreeSet<TableId> {
        let Some(meaning) = numbers.get(id) else { return BTreeSet::new() };
        let lists = meaning.lists.iter().filter_map(|list| self.by_list.get(list));
        let asking = (!meaning.named().is_empty()).then_some(&self.asking);
        lists.chain(asking).flatten().copied().collect()
    }

    /// The tables that were made since this was last asked.
    pub(crate) fn take_new(&mut self) -> BTreeSet<TableId> {
        std::mem::take(&mut self.new)
    }

    /// A table.
    pub(crate) fn get(&self, id: TableId) -> Option<&AllowTable> {
        self.all.get(&id).map(|kept| &kept.table)
    }

    /// A table and its content.
    pub(crate) fn with_content(&self, id: TableId) -> Option<(&AllowTable, &Arc<AllowMap>)> {
        self.all.get(&id).map(|kept| (&kept.table, &kept.content))
    }

    /// The same, to change the content.
    pub(crate) fn get_mut(&mut self, id: TableId) -> Option<(&AllowTable, &mut Arc<AllowMap>)> {
        self.all.get_mut(&id).map(|kept| (&kept.table, &mut kept.content))
    }

    /// The tables for egress.
    pub(crate) fn of_egress(&self) -> Vec<TableId> {
        let egress = self.all.iter().filter(|(_, kept)| kept.key.0 == Direction::Egress);
        egress.map(|(id, _)| *id).collect()
    }
}

/// What the names of ingress rules resolve to on a pod.
fn resolved<'a>(
    policies: impl Iterator<Item = &'a CompiledPolicy>,
    direction: Direction,
    pod: &Pod,
) -> ResolvedPorts {
    if direction == Direction::Egress {
        return ResolvedPorts::new();
    }
    let rules = policies.flat_map(|policy| policy.rules(direction));
    rules.flat_map(|rule| rule.ports.names_on(pod)).collect()
}
