//! The distinct peer lists of the rules in force, and how often each is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::rules::{
        peer_list::{PeerKey, PeerList},
        rule::{CompiledPolicy, CompiledRule, NamedPort},
    },
    model::Direction,
};

/// Number of a peer list; never given out again.
pub(crate) type ListId = u32;

/// Every peer list of a rule in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    index: BTreeMap<PeerList, ListId>,
    /// By number; `None` once no rule has it.
    all: Vec<Option<Used>>,
    /// Named ports that egress rules without peers ask every address for, and how many do.
    names_for_all: BTreeMap<NamedPort, usize>,
    /// How many rules ask for a named port.
    asking: usize,
}

#[derive(Clone, Debug)]
struct Used {
    list: PeerList,
    rules: usize,
    /// Named ports that egress rules with this list ask for, and how many do.
    names: BTreeMap<NamedPort, usize>,
}

/// What policies that come and go do to the lists.
#[derive(Debug, Default)]
pub(crate) struct ListChanges {
    pub(crate) came: BTreeSet<ListId>,
    pub(crate) went: BTreeMap<ListId, PeerList>,
    /// Lists of which other named ports are asked for now.
    pub(crate) asked: BTreeSet<ListId>,
    /// Whether every address is asked for other named ports.
    pub(crate) all_asked: bool,
}

impl ListChanges {
    /// Whether the blocks of some list came or went.
    pub(crate) fn have_blocks(&self, lists: &Lists) -> bool {
        let came = self.came.iter().filter_map(|id| lists.get(*id));
        came.chain(self.went.values())
            .any(|list| list.peers().iter().any(|peer| matches!(peer, PeerKey::Block { .. })))
    }
}

impl Lists {
    /// Takes the rules of a policy in, which then share the memory of lists that are equal.
    pub(crate) fn acquire(&mut self, policy: &mut CompiledPolicy, changes: &mut ListChanges) {
        for direction in [Direction::Ingress, Direction::Egress] {
            for rule in policy.rules_mut(direction) {
                if let Some(joined) = &mut rule.joined {
                    for one in Arc::make_mut(joined) {
                        one.peers = self.take(&one.peers, changes);
                    }
                } else if let Some(list) = &mut rule.peers {
                    *list = self.take(list, changes);
                }
                if direction == Direction::Egress {
                    self.ask(rule, changes);
                }
            }
        }
    }

    fn take(&mut self, list: &PeerList, changes: &mut ListChanges) -> PeerList {
        if let Some(id) = self.index.get(list) {
            let used = self.all[*id as usize].get_or_insert_with(|| Used::new(list));
            used.rules += 1;
            return used.list.clone();
        }
        let id = ListId::try_from(self.all.len()).unwrap_or(ListId::MAX);
        self.index.insert(list.clone(), id);
        self.all.push(Some(Used { rules: 1, ..Used::new(list) }));
        changes.came.insert(id);
        list.clone()
    }

    /// Lets the rules of a policy go.
    pub(crate) fn release(&mut self, policy: &CompiledPolicy, changes: &mut ListChanges) {
        for rule in &policy.egress {
            self.forget(rule, changes);
        }
        let rules = policy.ingress.iter().chain(&policy.egress);
        for list in rules.flat_map(CompiledRule::grants).filter_map(|(list, _)| list) {
            let Some(&id) = self.index.get(list) else { continue };
            let Some(used) = &mut self.all[id as usize] else { continue };
            used.rules -= 1;
            if used.rules == 0 {
                self.index.remove(list);
                self.all[id as usize] = None;
                if !changes.came.remove(&id) {
                    changes.went.insert(id, list.clone());
                }
            }
        }
    }

    fn ask(&mut self, rule: &CompiledRule, changes: &mut ListChanges) {
        for (list, ports) in rule.grants() {
            let id = list.and_then(|list| self.id(list));
            self.asking += usize::from(!ports.names.is_empty());
            for name in &ports.names {
                let count = self.names(id).entry(name.clone()).or_default();
                *count += 1;
                if *count == 1 {
                    changes.note(id);
                }
            }
        }
    }

    fn forget(&mut self, rule: &CompiledRule, changes: &mut ListChanges) {
        for (list, ports) in rule.grants() {
            let id = list.and_then(|list| self.id(list));
            self.asking -= usize::from(!ports.names.is_empty());
            for name in &ports.names {
                let names = self.names(id);
                let left = names.get(name).map_or(0, |count| count - 1);
                if left == 0 {
                    names.remove(name);
                    changes.note(id);
                } else {
                    names.insert(name.clone(), left);
                }
            }
        }
    }

    /// How many rules ask for each named port: those with a list, or those without one.
    fn names(&mut self, id: Option<ListId>) -> &mut BTreeMap<NamedPort, usize> {
        match id.and_then(|id| self.all.get_mut(id as usize)?.as_mut()) {
            Some(used) => &mut used.names,
            None => &mut self.names_for_all,
        }
    }

    /// The list of a number, while it is in use.
    pub(crate) fn get(&self, id: ListId) -> Option<&PeerList> {
        self.all.get(id as usize)?.as_ref().map(|used| &used.list)
    }

    /// The number of a list.
    pub(crate) fn id(&self, list: &PeerList) -> Option<ListId> {
        self.index.get(list).copied()
    }

    /// Every list, in the order of values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerList, ListId)> {
        self.index.iter().map(|(list, id)| (list, *id))
    }

    /// Each distinct peer that is a block, with the lists that it is in.
    pub(crate) fn by_block(&self) -> BTreeMap<&PeerKey, Vec<ListId>> {
        let mut peers: BTreeMap<&PeerKey, Vec<ListId>> = BTreeMap::new();
        for (list, id) in self.iter() {
            let blocks = list.peers().iter().filter(|p| matches!(p, PeerKey::Block { .. }));
            for peer in blocks {
                peers.entry(peer).or_default().push(id);
            }
        }
        peers
    }

    /// One more than the highest number.
    pub(crate) fn bound(&self) -> usize {
        self.all.len()
    }

    /// Whether some egress rule names a port.
    pub(crate) fn ask_for_names(&self) -> bool {
        self.asking > 0
    }

    /// The named ports that matter at an address that these lists match.
    pub(crate) fn names_at(&self, set: &[ListId]) -> impl Iterator<Item = &NamedPort> {
        let used = set.iter().filter_map(|&id| self.all[id as usize].as_ref());
        self.names_for_all.keys().chain(used.flat_map(|used| used.names.keys()))
    }
}

impl Used {
    fn new(list: &PeerList) -> Self {
        Self { list: list.clone(), rules: 0, names: BTreeMap::new() }
    }
}

impl ListChanges {
    fn note(&mut self, id: Option<ListId>) {
        match id {
            Some(id) => drop(self.asked.insert(id)),
            None => self.all_asked = true,
        }
    }
}
