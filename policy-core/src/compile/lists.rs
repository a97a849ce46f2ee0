//! The distinct peer lists of all rules in force, and sets of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use super::{
    meaning::{NamedPort, PeerKey, PeerList},
    rule::CompiledPolicy,
};

/// Number of a peer list, in the order of their values.
pub(super) type ListId = u32;

/// Number of an interned set of peer lists; 0 is the empty one.
pub(super) type SetId = u32;

/// Every peer list of a rule in force.
pub(super) struct Lists {
    distinct: Vec<PeerList>,
    index: BTreeMap<PeerList, ListId>,
    /// Named ports that egress rules without peers ask every address for.
    names_for_all: BTreeSet<NamedPort>,
    /// Named ports that egress rules with this list ask for.
    names: Vec<BTreeSet<NamedPort>>,
}

impl Lists {
    /// Collects them from the policies in force.
    pub(super) fn of<'a>(policies: impl Iterator<Item = &'a CompiledPolicy> + Clone) -> Self {
        let rules = policies.clone().flat_map(|p| p.ingress.iter().chain(&p.egress));
        let distinct: BTreeSet<_> = rules.filter_map(|rule| rule.list().cloned()).collect();
        let distinct: Vec<_> = distinct.into_iter().collect();
        let index = distinct.iter().cloned().zip(0..).collect();
        let names = vec![BTreeSet::new(); distinct.len()];
        let mut all = Self { distinct, index, names_for_all: BTreeSet::new(), names };
        for rule in policies.flat_map(|policy| &policy.egress) {
            let names = match rule.list().and_then(|peers| all.index.get(peers)) {
                Some(&id) => &mut all.names[id as usize],
                None => &mut all.names_for_all,
            };
            names.extend(rule.ports.names.iter().cloned());
        }
        all
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.distinct.len()
    }

    /// The list of a number.
    pub(super) fn get(&self, id: ListId) -> &PeerList {
        &self.distinct[id as usize]
    }

    /// The number of a list.
    pub(super) fn id(&self, list: &PeerList) -> Option<ListId> {
        self.index.get(list).copied()
    }

    /// Each distinct peer, with the lists that it is in.
    pub(super) fn by_peer(&self) -> BTreeMap<&PeerKey, Vec<ListId>> {
        let mut peers: BTreeMap<&PeerKey, Vec<ListId>> = BTreeMap::new();
        for (list, id) in self.distinct.iter().zip(0..) {
            for peer in list.peers() {
                peers.entry(peer).or_default().push(id);
            }
        }
        peers
    }

    /// The named ports that matter at an address that these lists match.
    pub(super) fn names_at(&self, set: &[ListId]) -> impl Iterator<Item = &NamedPort> {
        let listed = set.iter().flat_map(|&id| &self.names[id as usize]);
        self.names_for_all.iter().chain(listed)
    }
}

/// Interned sets of peer lists. What it hands out depends on the order of questions only.
pub(super) struct Sets {
    distinct: Vec<Rc<[ListId]>>,
    index: HashMap<Rc<[ListId]>, SetId>,
    unions: HashMap<(SetId, SetId), SetId>,
}

impl Sets {
    /// Holds the empty set only.
    pub(super) fn new() -> Self {
        let empty: Rc<[ListId]> = Rc::default();
        let index = HashMap::from([(Rc::clone(&empty), 0)]);
        Self { distinct: vec![empty], index, unions: HashMap::new() }
    }

    /// The number of a set.
    pub(super) fn intern(&mut self, mut set: Vec<ListId>) -> SetId {
        set.sort_unstable();
        set.dedup();
        if let Some(&id) = self.index.get(set.as_slice()) {
            return id;
        }
        let id = SetId::try_from(self.distinct.len()).unwrap_or(SetId::MAX);
        let set: Rc<[ListId]> = set.into();
        self.distinct.push(Rc::clone(&set));
        self.index.insert(set, id);
        id
    }

    /// The lists of a set, sorted.
    pub(super) fn get(&self, id: SetId) -> &[ListId] {
        &self.distinct[id as usize]
    }

    /// What is in either.
    pub(super) fn union(&mut self, a: SetId, b: SetId) -> SetId {
        if a == b || b == 0 {
            return a;
        }
        if a == 0 {
            return b;
        }
        if let Some(&id) = self.unions.get(&(a, b)) {
            return id;
        }
        let id = self.intern([self.get(a), self.get(b)].concat());
        self.unions.insert((a, b), id);
        id
    }

    /// What is in both.
    pub(super) fn intersection(&mut self, a: SetId, b: SetId) -> SetId {
        let other = self.get(b);
        let both = self.get(a).iter().copied().filter(|id| other.binary_search(id).is_ok());
        let both = both.collect();
        self.intern(both)
    }
}
