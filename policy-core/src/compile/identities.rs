//! Stage 3: the identity of each address.
//!
//! Input: the set of peer lists that match each address. Output: identities that came into use or fell
//! out of it, and the addresses that changed theirs. Addresses that no policy in use can
//! distinguish share an identity; those that match nothing have the default one and take no entry:
//!
//! ```text
//! {1, 2}   10.0.0.7, 10.0.0.8                 identity a
//! {2}      10.0.0.9 and 10.0.0.0/8 around     identity b, one entry for the block
//! {1, 2}   10.0.0.6, where `http` is 8080     identity c, if egress rules to list 1 name `http`
//! {}       everything else                    the default identity
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::compile::{
    identity_key::{AddressKey, Identity, IdentityKey, IdentityKind},
    index::Index,
    peers::{EMPTY, ListSetId, Peers, PeersDelta},
    prefix::{self, Prefixes},
    registry::{Id, Registry, Removed},
    rules::{
        lists::{ListId, ListsDelta, PeerLists},
        rule::ResolvedPorts,
    },
};

/// Id of an identity of addresses; without one, an address has `DEFAULT_IDENTITY`.
pub(crate) type IdentityId = Id<AddressMatch>;

/// What identifies addresses: the lists that match them, and what named ports resolve to there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AddressMatch {
    set: ListSetId,
    names: ResolvedPorts,
}

/// An identity in use.
#[derive(Clone, Debug)]
pub(crate) struct AddressIdentity {
    /// Lists that match, sorted by id.
    pub(crate) lists: Arc<[ListId]>,
    key: Arc<AddressKey>,
}

/// The addresses and blocks of the cluster by identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identities {
    registry: Registry<AddressMatch, AddressIdentity>,
    by_list: Index<ListId, IdentityId>,
    /// Addresses of pods.
    addresses: BTreeMap<IpAddr, Option<IdentityId>>,
    /// Blocks, by longest prefix.
    blocks: Prefixes<Option<IdentityId>>,
}

/// What a change did to the identities.
#[derive(Debug, Default)]
pub(crate) struct IdentitiesDelta {
    /// Identities that came into use.
    pub(crate) added: Vec<IdentityId>,
    /// Identities that fell out of use.
    pub(crate) removed: Vec<Removed<AddressMatch, AddressIdentity>>,
    /// The entries of pods' addresses that may be others now; `None` where an address needs none.
    pub(crate) entries: Vec<(IpAddr, Option<Identity>)>,
    /// The table of blocks, where it is another one.
    pub(crate) table: Option<Prefixes<Identity>>,
    /// Pods' addresses that have another identity, or that several pods share now or no longer.
    pub(crate) moved: BTreeSet<IpAddr>,
    /// Whether addresses that no pod has may have another identity.
    pub(crate) blocks: bool,
    /// How many addresses were resolved.
    pub(crate) resolved: usize,
}

impl AddressIdentity {
    /// What named ports resolve to.
    pub(crate) fn names(&self) -> &ResolvedPorts {
        &self.key.named
    }

    /// The identity by value.
    pub(crate) fn key(&self) -> IdentityKey {
        IdentityKey(IdentityKind::Addresses(Arc::clone(&self.key)))
    }
}

impl Identities {
    /// Resolves the addresses that a change touches.
    pub(crate) fn update(
        &mut self,
        (lists, changes): (&PeerLists, &ListsDelta),
        (peers, delta): (&Peers, &PeersDelta),
    ) -> IdentitiesDelta {
        let mut done = IdentitiesDelta::default();
        // Blocks before addresses: whether an address needs an entry of its own depends on the
        // block around it. Addresses in ranges where blocks changed are in `delta.addresses` too.
        if let Some(changed) = &delta.blocks {
            done.table = Some(self.update_blocks(lists, peers));
            done.blocks = !changed.is_empty();
        }
        let other_names = self.other_names(changes, delta);
        for (address, set) in delta.addresses.iter().copied().chain(other_names) {
            done.resolved += 1;
            let entry = self.resolve(address, set, (lists, peers), &mut done.moved);
            done.entries.push((address, entry));
        }
        done.moved.extend(&delta.shared);
        // Taken after both tables are written, so that an identity that only moved from one to the other
        // is in no delta.
        let identities = self.registry.take_delta();
        for id in &identities.added {
            for list in self.registry.get(*id).map(|one| &*one.lists).unwrap_or_default() {
                self.by_list.insert(*list, *id);
            }
        }
        for gone in &identities.removed {
            for list in &*gone.value.lists {
                self.by_list.remove(list, gone.id);
            }
        }
        (done.added, done.removed) = (identities.added, identities.removed);
        done
    }

    /// Gives the prefixes of the new table their identities; returns the table by value.
    fn update_blocks(&mut self, lists: &PeerLists, peers: &Peers) -> Prefixes<Identity> {
        // The new table acquires before the old one releases: identities of both stay in use.
        let mut blocks = Prefixes::new();
        for (prefix, set) in peers.blocks() {
            blocks.insert(prefix, self.acquire(*set, ResolvedPorts::new(), peers, lists));
        }
        for before in std::mem::replace(&mut self.blocks, blocks).into_values() {
            self.release(before);
        }
        self.blocks.iter().map(|(prefix, id)| (prefix, self.identity(*id))).collect()
    }

    /// Addresses at which other named ports are to be resolved, with their sets; without those that
    /// are resolved anyway.
    fn other_names(
        &self,
        changes: &ListsDelta,
        delta: &PeersDelta,
    ) -> Vec<(IpAddr, Option<ListSetId>)> {
        if !changes.other_names_everywhere && changes.other_names.is_empty() {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (address, id) in &self.addresses {
            let lists = id.and_then(|id| self.registry.get(id)).map(|one| &*one.lists);
            let lists = lists.unwrap_or_default();
            if (changes.other_names_everywhere
                || lists.iter().any(|list| changes.other_names.contains(list)))
                && delta.addresses.binary_search_by_key(address, |(address, _)| *address).is_err()
            {
                // Its lists are the same; only what names resolve to is another.
                let set = id.and_then(|id| self.registry.key(id)).map_or(EMPTY, |key| key.set);
                all.push((*address, Some(set)));
            }
        }
        all
    }

    /// Gives an address its identity; returns the entry that it needs beside the blocks.
    fn resolve(
        &mut self,
        address: IpAddr,
        set: Option<ListSetId>,
        (lists, peers): (&PeerLists, &Peers),
        moved: &mut BTreeSet<IpAddr>,
    ) -> Option<Identity> {
        let Some(set) = set else {
            let before = self.addresses.remove(&address).flatten();
            self.release(before);
            moved.insert(address);
            return None;
        };
        let names = resolve_names(address, set, lists, peers);
        // Acquired before the old one is released: an address that keeps its identity keeps the id too.
        let id = self.acquire(set, names, peers, lists);
        let before = self.addresses.insert(address, id).flatten();
        self.release(before);
        if before != id {
            moved.insert(address);
        }
        // The kernel looks up an address first and the blocks around it second; an entry that says
        // the same as the blocks would only take memory.
        let around = prefix::longest_match(&self.blocks, address).copied().flatten();
        (id != around).then(|| self.identity(id))
    }

    /// The id of what is matched, for one more use; `None` where nothing is.
    fn acquire(
        &mut self,
        set: ListSetId,
        names: ResolvedPorts,
        peers: &Peers,
        lists: &PeerLists,
    ) -> Option<IdentityId> {
        if set == EMPTY && names.is_empty() {
            return None;
        }
        let matched = AddressMatch { set, names };
        Some(self.registry.acquire(&matched).unwrap_or_else(|| {
            // By value the lists are sorted by what they contain, since ids depend on the order of
            // changes.
            let ids = peers.sets().shared(set);
            let mut peers: Vec<_> = ids.iter().filter_map(|id| lists.get(*id)).cloned().collect();
            peers.sort_unstable();
            let key = Arc::new(AddressKey { peers, named: matched.names.clone() });
            self.registry.insert(matched, AddressIdentity { lists: ids, key })
        }))
    }

    fn release(&mut self, id: Option<IdentityId>) {
        if let Some(id) = id {
            self.registry.release(id);
        }
    }

    /// An identity by value.
    pub(crate) fn identity(&self, id: Option<IdentityId>) -> Identity {
        Some(self.registry.get(id?)?.key())
    }

    /// An identity.
    pub(crate) fn get(&self, id: IdentityId) -> Option<&AddressIdentity> {
        self.registry.get(id)
    }

    /// The identities that a list matches.
    pub(crate) fn matched_by(&self, list: ListId) -> impl Iterator<Item = IdentityId> + '_ {
        self.by_list.get(&list)
    }

    /// The identities at which some named port resolves.
    pub(crate) fn with_names(&self) -> impl Iterator<Item = IdentityId> + '_ {
        let all = self.registry.iter().filter(|(_, matched, _)| !matched.names.is_empty());
        all.map(|(id, ..)| id)
    }

    /// Every identity.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &AddressIdentity> {
        self.registry.iter().map(|(.., identity)| identity)
    }

    /// The identity of any address.
    pub(crate) fn of(&self, address: IpAddr) -> Option<IdentityId> {
        match self.addresses.get(&address) {
            Some(id) => *id,
            None => prefix::longest_match(&self.blocks, address).copied().flatten(),
        }
    }

    /// How many identities are in use.
    pub(crate) fn len(&self) -> usize {
        self.registry.len()
    }

    /// How many ids are spent on identities that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.registry.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.registry.is_sound()
    }
}

/// What the named ports of rules resolve to at an address, on every pod that has the address.
fn resolve_names(
    address: IpAddr,
    set: ListSetId,
    lists: &PeerLists,
    peers: &Peers,
) -> ResolvedPorts {
    let mut resolved = ResolvedPorts::new();
    // On a pod without named ports no name resolves, and a name must resolve on all pods that
    // have the address.
    if !lists.has_named_rules() || peers.named_ports(address).any(<[_]>::is_empty) {
        return resolved;
    }
    for name in lists.names_at(peers.sets().get(set)) {
        let on_each = peers.named_ports(address).map(|ports| -> BTreeSet<u16> {
            let same = ports.iter().filter(|port| {
                port.protocol == name.protocol && port.name.as_deref() == Some(&name.name)
            });
            same.map(|port| port.port).collect()
        });
        let common = on_each.reduce(|a, b| &a & &b).unwrap_or_default();
        if !common.is_empty() {
            resolved.insert(name.clone(), common);
        }
    }
    resolved
}
