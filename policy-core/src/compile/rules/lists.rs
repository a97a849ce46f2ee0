//! The distinct peer lists of the rules in use, and the named ports that rules resolve at their
//! addresses.
//!
//! A named port of an egress rule resolves on the destination (S23): two pods that the same lists
//! match but that give `http` different numbers need different identities. Therefore the names
//! that egress rules use are counted by list:
//!
//! ```text
//! egress to `app=web`, port http      list 1      use (list 1, http): other names at list 1
//! egress to `app=web`, port http      list 1      a second use: nothing changes
//! egress to everyone, port metrics    no list     use (none, metrics): other names everywhere
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::{
        index::Index,
        registry::{Delta, Id, Registry, Removed},
        rules::{
            peer_list::PeerList,
            rule::{CompiledPolicy, CompiledRule, NamedPort},
        },
    },
    model::Direction,
};

/// Id of a peer list.
pub(crate) type ListId = Id<PeerList>;

/// A named port of egress rules, and their peer list; without a list, rules for every address.
type NameUse = (Option<ListId>, NamedPort);

/// Every peer list of a rule in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerLists {
    lists: Registry<PeerList, ()>,
    /// One use for each egress rule.
    names: Registry<NameUse, ()>,
    names_by_list: Index<Option<ListId>, Id<NameUse>>,
}

/// What a change did to the lists.
#[derive(Debug, Default)]
pub(crate) struct ListsDelta {
    /// Lists that came into use.
    pub(crate) added: Vec<ListId>,
    /// Lists that fell out of use.
    pub(crate) removed: BTreeMap<ListId, PeerList>,
    /// Lists with other named ports to resolve at their addresses.
    pub(crate) other_names: BTreeSet<ListId>,
    /// Whether other named ports are to be resolved at every address.
    pub(crate) other_names_everywhere: bool,
}

impl ListsDelta {
    /// Whether blocks of some list came into use or fell out of it.
    pub(crate) fn has_blocks(&self, lists: &PeerLists) -> bool {
        let added = self.added.iter().filter_map(|id| lists.get(*id));
        added.chain(self.removed.values()).any(|list| list.blocks().next().is_some())
    }
}

impl ListsDelta {
    /// Notes that other names are to be resolved at the addresses of a list, or everywhere.
    fn add_other_names(&mut self, list: Option<ListId>) {
        match list {
            Some(list) => drop(self.other_names.insert(list)),
            None => self.other_names_everywhere = true,
        }
    }
}

impl PeerLists {
    /// Counts the lists of a policy, and makes it share the memory of equal lists.
    pub(crate) fn acquire(&mut self, policy: &mut CompiledPolicy) {
        for direction in Direction::BOTH {
            for rule in policy.rules_mut(direction) {
                if let Some(merged) = &mut rule.merged {
                    for one in Arc::make_mut(merged) {
                        self.acquire_list(&mut one.peers);
                    }
                } else if let Some(list) = &mut rule.peers {
                    self.acquire_list(list);
                }
                // Names of ingress rules resolve on the subject and split no identity.
                if direction == Direction::Egress {
                    self.acquire_names(rule);
                }
            }
        }
    }

    fn acquire_list(&mut self, list: &mut PeerList) {
        let Some(id) = self.lists.acquire(list) else {
            self.lists.insert(list.clone(), ());
            return;
        };
        if let Some(same) = self.lists.key(id) {
            list.clone_from(same);
        }
    }

    /// Counts the lists of a policy no longer.
    pub(crate) fn release(&mut self, policy: &CompiledPolicy) {
        // Names first: to find their list, the list must still have its id.
        for rule in policy.rules(Direction::Egress) {
            self.release_names(rule);
        }
        let rules = Direction::BOTH.into_iter().flat_map(|direction| policy.rules(direction));
        for list in rules.flat_map(CompiledRule::grants).filter_map(|(list, _)| list) {
            let id = self.lists.id(list);
            debug_assert!(id.is_some(), "a peer list is released that is not in use: {list:?}");
            if let Some(id) = id {
                self.lists.release(id);
            }
        }
    }

    /// The names that an egress rule uses, each with the list at which it resolves.
    fn names_of(&self, rule: &CompiledRule) -> Vec<NameUse> {
        let uses = rule.grants().flat_map(|(list, ports)| {
            let list = list.and_then(|list| self.lists.id(list));
            ports.names.iter().map(move |name| (list, name.clone()))
        });
        uses.collect()
    }

    fn acquire_names(&mut self, rule: &CompiledRule) {
        for name in self.names_of(rule) {
            if self.names.acquire(&name).is_none() {
                self.names.insert(name, ());
            }
        }
    }

    fn release_names(&mut self, rule: &CompiledRule) {
        for name in self.names_of(rule) {
            let id = self.names.id(&name);
            debug_assert!(id.is_some(), "a named port is released that is not in use: {name:?}");
            if let Some(id) = id {
                self.names.release(id);
            }
        }
    }

    /// What changed since the last delta.
    pub(crate) fn take_delta(&mut self) -> ListsDelta {
        let Delta { added, removed } = self.lists.take_delta();
        let mut delta = ListsDelta {
            added,
            removed: removed.into_iter().map(|gone| (gone.id, gone.key)).collect(),
            ..ListsDelta::default()
        };
        let names = self.names.take_delta();
        for id in names.added {
            let Some((list, _)) = self.names.key(id) else { continue };
            self.names_by_list.insert(*list, id);
            delta.add_other_names(*list);
        }
        for Removed { id, key: (list, _), .. } in names.removed {
            self.names_by_list.remove(&list, id);
            delta.add_other_names(list);
        }
        delta
    }

    /// A list.
    pub(crate) fn get(&self, id: ListId) -> Option<&PeerList> {
        self.lists.key(id)
    }

    /// The id of a list.
    pub(crate) fn id(&self, list: &PeerList) -> Option<ListId> {
        self.lists.id(list)
    }

    /// Every list, in the order of values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerList, ListId)> {
        self.lists.in_use().map(|(list, id, ())| (list, id))
    }

    /// One more than the highest slot of an id.
    pub(crate) fn slots(&self) -> usize {
        self.lists.slots()
    }

    /// Whether some egress rule names a port.
    pub(crate) fn has_named_rules(&self) -> bool {
        !self.names_by_list.is_empty()
    }

    /// The named ports to resolve at an address that these lists match.
    pub(crate) fn names_at(&self, set: &[ListId]) -> impl Iterator<Item = &NamedPort> {
        let lists = [None].into_iter().chain(set.iter().copied().map(Some));
        let ids = lists.flat_map(|list| self.names_by_list.get(&list));
        ids.filter_map(|id| self.names.key(id)).map(|(_, name)| name)
    }

    /// How many ids are spent on lists and names that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.lists.spent() + self.names.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.lists.is_sound() && self.names.is_sound()
    }
}
