//! Allow maps by ids of identities, from which those by value follow.
//!
//! An id means something only inside of the compiler, and costs nothing to compare; an identity by
//! value is what the compiler returns. Only entries that differ from the default are kept:
//!
//! ```text
//! rules        web may use 80, everyone may use 53
//! default      53                       for identities without an entry
//! identity 4   53, 80                   its addresses match `web`
//! identity 7   no entry                 its addresses match lists of other policies only
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    compile::{
        allow::grants::Grants,
        identities::{Identities, IdentityId},
        identity_key::Identity,
        rules::{
            lists::{ListId, PeerLists},
            rule::{CompiledPolicy, ResolvedPorts},
        },
    },
    model::{Direction, Pod, Protocol},
    ports::Ports,
};

/// What some policies allow in one direction.
#[derive(Clone, Debug)]
pub(crate) struct IdAllowMap {
    grants: Grants,
    /// Places of the grants to each list.
    by_list: BTreeMap<ListId, Vec<usize>>,
    /// Places of the grants to everyone.
    everyone: Vec<usize>,
    /// Whether one of those names ports, which resolve at any address.
    resolves_everywhere: bool,
    /// For identities without an entry.
    default: Ports,
    ports: BTreeMap<IdentityId, Ports>,
}

impl IdAllowMap {
    /// Flattens the rules of some policies for each identity.
    ///
    /// Named ports resolve on `subject` for ingress, and on each identity for egress (S23).
    pub(super) fn new<'a>(
        policies: impl Iterator<Item = &'a CompiledPolicy>,
        direction: Direction,
        subject: &Pod,
        lists: &PeerLists,
        identities: &Identities,
    ) -> Self {
        let grants = Grants::new(policies, direction, subject, lists);
        let mut by_list: BTreeMap<ListId, Vec<usize>> = BTreeMap::new();
        let (mut everyone, mut resolves_everywhere) = (Vec::new(), false);
        for (place, grant) in grants.all.iter().enumerate() {
            for list in &grant.peers {
                by_list.entry(*list).or_default().push(place);
            }
            if grant.everyone {
                everyone.push(place);
                resolves_everywhere |= !grant.ports.names.is_empty();
            }
        }
        let default = grants.flatten(&everyone, &ResolvedPorts::new());
        let ports = BTreeMap::new();
        let mut map = Self { grants, by_list, everyone, resolves_everywhere, default, ports };
        // Any other identity has the default: only rules for everyone apply to it, and without named
        // ports they give it the same ports as everyone.
        let matched = map.lists().flat_map(|list| identities.matched_by(list));
        let mut depending: BTreeSet<IdentityId> = matched.collect();
        if resolves_everywhere {
            depending.extend(identities.with_names());
        }
        for id in depending {
            map.insert(id, identities);
        }
        map
    }

    /// Adds an entry for an identity, unless the default says the same.
    pub(super) fn insert(&mut self, id: IdentityId, identities: &Identities) {
        let Some(identity) = identities.get(id) else { return };
        let ports = self.grants.flatten(&self.places(&identity.lists), identity.names());
        if ports != self.default {
            self.ports.insert(id, ports);
        }
    }

    /// Removes the entry of an identity; returns whether there was one.
    pub(super) fn remove(&mut self, id: IdentityId) -> bool {
        self.ports.remove(&id).is_some()
    }

    /// The places of the grants that apply to an identity, in order.
    fn places(&self, lists: &[ListId]) -> Vec<usize> {
        let mut places = self.everyone.clone();
        // The shorter side is walked, the other one is searched.
        if lists.len() <= self.by_list.len() {
            places.extend(lists.iter().filter_map(|list| self.by_list.get(list)).flatten());
        } else {
            let here = self.by_list.iter().filter(|(list, _)| lists.binary_search(list).is_ok());
            places.extend(here.flat_map(|(_, places)| places));
        }
        // The place is the precedence: in tiers the first grant that matches decides.
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The lists that some grant applies to.
    pub(super) fn lists(&self) -> impl Iterator<Item = ListId> + '_ {
        self.by_list.keys().copied()
    }

    /// Whether it resolves named ports at every address.
    pub(super) fn resolves_everywhere(&self) -> bool {
        self.resolves_everywhere
    }

    /// The ports of an identity, if it has an entry.
    pub(super) fn entry(&self, id: IdentityId) -> Option<&Ports> {
        self.ports.get(&id)
    }

    /// Whether an identity may be reached at a port.
    pub(crate) fn allows(&self, id: Option<IdentityId>, protocol: Protocol, port: u16) -> bool {
        let ports = id.and_then(|id| self.ports.get(&id)).unwrap_or(&self.default);
        ports.contains(protocol, port)
    }

    /// Whether a frontend without an entry is allowed.
    pub(crate) fn allows_everything(&self) -> bool {
        self.default.every_protocol
    }

    /// The ports by value.
    pub(super) fn ports(&self, identities: &Identities) -> BTreeMap<Identity, Ports> {
        let entries = self.ports.iter();
        let entries = entries.map(|(&id, ports)| (identities.identity(Some(id)), ports.clone()));
        let default = (!self.default.is_empty()).then(|| (None, self.default.clone()));
        entries.chain(default).collect()
    }
}
