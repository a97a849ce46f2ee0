//! The distinct peer lists of the rules in use, and the named ports that rules resolve at their
//! addresses.
//!
//! A named port of an egress rule resolves on the destination (S23): two pods that the same lists
//! match but that give `http` different numbers need different identities. Therefore each list
//! counts the names that egress rules with it use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::{
        registry::{Delta, Id, Registry},
        rules::{
            peer_list::PeerList,
            rule::{CompiledPolicy, CompiledRule, NamedPort},
        },
    },
    model::Direction,
};

/// Id of a peer list.
pub(crate) type ListId = Id<PeerList>;

/// Named ports, and how many rules use each.
type NameCounts = BTreeMap<NamedPort, usize>;

/// Every peer list of a rule in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerLists {
    /// Each list with the names that egress rules with it use.
    lists: Registry<PeerList, NameCounts>,
    /// Names that egress rules without peers use, at every address.
    names_for_all: NameCounts,
    /// How many rules use a named port.
    named_rules: usize,
    /// Lists with other names since the last delta.
    other_names: BTreeSet<ListId>,
    other_names_everywhere: bool,
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
                    self.count_names(rule, 1);
                }
            }
        }
    }

    fn acquire_list(&mut self, list: &mut PeerList) {
        let Some(id) = self.lists.acquire(list) else {
            self.lists.insert(list.clone(), NameCounts::new());
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
            self.count_names(rule, -1);
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

    /// Counts the names of an egress rule one more time, or one time less.
    fn count_names(&mut self, rule: &CompiledRule, change: isize) {
        for (list, ports) in rule.grants() {
            if ports.names.is_empty() {
                continue;
            }
            self.named_rules = self.named_rules.saturating_add_signed(change);
            let id = list.and_then(|list| self.lists.id(list));
            for name in &ports.names {
                let names = match id.and_then(|id| self.lists.get_mut(id)) {
                    Some(names) => names,
                    None => &mut self.names_for_all,
                };
                let before = names.get(name).copied().unwrap_or(0);
                debug_assert!(
                    change > 0 || before > 0,
                    "{name:?} is released, and nothing uses it"
                );
                let after = before.saturating_add_signed(change);
                if after == 0 {
                    names.remove(name);
                } else {
                    names.insert(name.clone(), after);
                }
                // Only the first rule and the last one change which names are resolved.
                if (before == 0) != (after == 0) {
                    self.other_names.extend(id);
                    self.other_names_everywhere |= id.is_none();
                }
            }
        }
    }

    /// What changed since the last delta.
    pub(crate) fn take_delta(&mut self) -> ListsDelta {
        let Delta { added, removed } = self.lists.take_delta();
        ListsDelta {
            added,
            removed: removed.into_iter().map(|gone| (gone.id, gone.key)).collect(),
            other_names: std::mem::take(&mut self.other_names),
            other_names_everywhere: std::mem::take(&mut self.other_names_everywhere),
        }
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
        self.lists.in_use().map(|(list, id, _)| (list, id))
    }

    /// One more than the highest slot of an id.
    pub(crate) fn slots(&self) -> usize {
        self.lists.slots()
    }

    /// Whether some egress rule names a port.
    pub(crate) fn has_named_rules(&self) -> bool {
        self.named_rules > 0
    }

    /// The named ports to resolve at an address that these lists match.
    pub(crate) fn names_at(&self, set: &[ListId]) -> impl Iterator<Item = &NamedPort> {
        let names = set.iter().filter_map(|&id| self.lists.get(id));
        self.names_for_all.keys().chain(names.flat_map(BTreeMap::keys))
    }

    /// How many ids are spent on lists that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.lists.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.lists.is_sound()
    }
}
