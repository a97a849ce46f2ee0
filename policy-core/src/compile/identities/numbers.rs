//! Meanings in use, under numbers for the compiler alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    compile::{
        identity_key::{AddressKey, IdentityKind},
        peers::{
            lists::{ListId, Lists},
            sets::{SetId, Sets},
        },
        rules::rule::ResolvedPorts,
    },
    desired::{Identity, IdentityKey},
};

/// Number of a meaning of addresses, never given out again; 0 is that of `DEFAULT_IDENTITY`.
pub(crate) type IdentityId = u32;

/// The meanings of all addresses and blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// By number, less one; `None` once nothing means it.
    all: Vec<Option<Numbered>>,
    index: HashMap<(SetId, ResolvedPorts), IdentityId>,
    /// Meanings with each list.
    members: HashMap<ListId, BTreeSet<IdentityId>>,
    /// Meanings that came into use or fell out of it, and whether they were in use before.
    touched: BTreeMap<IdentityId, bool>,
    in_use: usize,
}

/// A meaning.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    set: SetId,
    /// Lists that match, sorted by number.
    pub(crate) lists: Arc<[ListId]>,
    meaning: Arc<AddressKey>,
    uses: usize,
}

impl Numbered {
    /// What named ports resolve to.
    pub(crate) fn named(&self) -> &ResolvedPorts {
        &self.meaning.named
    }
}

/// What a change did to the meanings.
#[derive(Debug, Default)]
pub(crate) struct IdentityChanges {
    pub(crate) came: Vec<IdentityId>,
    /// They are still known, until they are dropped.
    pub(crate) went: Vec<IdentityId>,
}

impl Numbers {
    /// The number of a meaning, for one more use.
    pub(crate) fn acquire(
        &mut self,
        set: SetId,
        named: ResolvedPorts,
        sets: &Sets,
        lists: &Lists,
    ) -> IdentityId {
        if set == 0 && named.is_empty() {
            return 0;
        }
        let key = (set, named);
        if let Some(&id) = self.index.get(&key) {
            if let Some(known) = &mut self.all[id as usize - 1] {
                if known.uses == 0 {
                    self.touched.entry(id).or_insert(false);
                }
                known.uses += 1;
            }
            return id;
        }
        let ids = Arc::clone(sets.get(set));
        let mut peers: Vec<_> = ids.iter().filter_map(|id| lists.get(*id)).cloned().collect();
        peers.sort_unstable();
        let meaning = Arc::new(AddressKey { peers, named: key.1.clone() });
        let id = IdentityId::try_from(self.all.len() + 1).unwrap_or(IdentityId::MAX);
        for list in &*ids {
            self.members.entry(*list).or_default().insert(id);
        }
        self.all.push(Some(Numbered { set, lists: ids, meaning, uses: 1 }));
        self.index.insert(key, id);
        self.touched.insert(id, false);
        self.in_use += 1;
        id
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: IdentityId) {
        let known = (id as usize).checked_sub(1).and_then(|at| self.all.get_mut(at)?.as_mut());
        let Some(known) = known else { return };
        known.uses -= 1;
        if known.uses == 0 {
            self.touched.entry(id).or_insert(true);
        }
    }

    /// What came and what went since it was last asked.
    pub(crate) fn changes(&mut self) -> IdentityChanges {
        let mut changes = IdentityChanges::default();
        for (id, before) in std::mem::take(&mut self.touched) {
            match (before, self.get(id).is_some_and(|known| known.uses > 0)) {
                (false, true) => changes.came.push(id),
                (_, false) => changes.went.push(id),
                (true, true) => {}
            }
        }
        changes
    }

    /// Forgets meanings that nothing has any more.
    pub(crate) fn drop(&mut self, went: &[IdentityId]) {
        for &id in went {
            let Some(gone) = self.all[id as usize - 1].take() else { continue };
            self.in_use -= 1;
            self.index.remove(&(gone.set, gone.meaning.named.clone()));
            for list in &*gone.lists {
                if let Some(members) = self.members.get_mut(list) {
                    members.remove(&id);
                    if members.is_empty() {
                        self.members.remove(list);
                    }
                }
            }
        }
    }

    /// A meaning; `None` for 0.
    pub(crate) fn get(&self, id: IdentityId) -> Option<&Numbered> {
        self.all.get((id as usize).checked_sub(1)?)?.as_ref()
    }

    /// A meaning by value.
    pub(crate) fn identity(&self, id: IdentityId) -> Identity {
        let meaning = Arc::clone(&self.get(id)?.meaning);
        Some(IdentityKey(IdentityKind::Addresses(meaning)))
    }

    /// Meanings with a list.
    pub(crate) fn with(&self, list: ListId) -> impl Iterator<Item = IdentityId> + '_ {
        self.members.get(&list).into_iter().flatten().copied()
    }

    /// Every meaning.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IdentityId, &Numbered)> {
        (1..).zip(&self.all).filter_map(|(id, known)| Some((id, known.as_ref()?)))
    }

    /// How many numbers were given out, and how many are in use.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.all.len(), self.in_use)
    }
}
