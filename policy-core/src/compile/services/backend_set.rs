//! Backend sets: what is behind a frontend, as far as policies can distinguish backends.
//!
//! Frontends with equal backend sets share an identity in the kernel's map of frontends, and an
//! outcome in each allow map.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use policy_common::drops::Reason;

use crate::{
    compile::{
        allow::IdAllowMap,
        desired::{Frontend, FrontendOutcome, ServiceBackends},
        identities::{Identities, IdentityId},
        identity_key::{FrontendKey, Identity, IdentityKey, IdentityKind},
        index::Index,
        registry::{Id, Registry, Removed},
    },
    model::Protocol,
};

/// Id of a backend set.
pub(super) type BackendSetId = Id<Arc<BackendSet>>;

/// An identity of addresses, and a port.
type IdentityPort = (Option<IdentityId>, u16);

/// The backends of frontends, by identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackendSet {
    /// Of the frontend and the backends; the same for all frontends without backends.
    protocol: Protocol,
    backends: BTreeSet<IdentityPort>,
    /// The frontend itself, where policy must allow its own address too.
    frontend: Option<IdentityPort>,
    /// Pods that pass only because the frontend leads back to them (S39).
    pub(super) hairpins: BTreeSet<IpAddr>,
    /// Each backend with its identity, if there are several identities or ports: only then can some
    /// of the backends be allowed and others not. Frontends with such a set share it only if all
    /// backends are the same.
    distinct: BTreeMap<(IpAddr, u16), Option<IdentityId>>,
}

/// Every backend set, with one use for each frontend that has it.
#[derive(Clone, Debug, Default)]
pub(super) struct BackendSets {
    sets: Registry<Arc<BackendSet>, IdentityKey>,
    by_identity: Index<Option<IdentityId>, BackendSetId>,
    by_hairpin: Index<IpAddr, BackendSetId>,
    by_distinct: Index<IpAddr, BackendSetId>,
}

/// Backend sets that came into use or fell out of it.
#[derive(Debug, Default)]
pub(super) struct BackendSetsDelta {
    pub(super) added: BTreeSet<BackendSetId>,
    pub(super) removed: Vec<Removed<Arc<BackendSet>, IdentityKey>>,
}

impl BackendSets {
    /// The id of a backend set, for one more use.
    pub(super) fn acquire(&mut self, set: BackendSet, identities: &Identities) -> BackendSetId {
        let set = Arc::new(set);
        self.sets.acquire(&set).unwrap_or_else(|| {
            let key = IdentityKey(IdentityKind::Frontends(Arc::new(set.key(identities))));
            self.sets.insert(set, key)
        })
    }

    /// One use less.
    pub(super) fn release(&mut self, id: BackendSetId) {
        self.sets.release(id);
    }

    /// What changed since the last delta.
    pub(super) fn take_delta(&mut self) -> BackendSetsDelta {
        let delta = self.sets.take_delta();
        for &id in &delta.added {
            let Some(set) = self.sets.key(id) else { continue };
            for identity in set.identities() {
                self.by_identity.insert(identity, id);
            }
            for address in &set.hairpins {
                self.by_hairpin.insert(*address, id);
            }
            for address in set.distinct() {
                self.by_distinct.insert(address, id);
            }
        }
        for gone in &delta.removed {
            for identity in gone.key.identities() {
                self.by_identity.remove(&identity, gone.id);
            }
            for address in &gone.key.hairpins {
                self.by_hairpin.remove(address, gone.id);
            }
            for address in gone.key.distinct() {
                self.by_distinct.remove(&address, gone.id);
            }
        }
        BackendSetsDelta { added: delta.added.into_iter().collect(), removed: delta.removed }
    }

    /// A backend set.
    pub(super) fn get(&self, id: BackendSetId) -> Option<&BackendSet> {
        self.sets.key(id).map(|set| &**set)
    }

    /// A backend set, and the identity of its frontends by value.
    pub(super) fn with_key(&self, id: BackendSetId) -> Option<(&BackendSet, &IdentityKey)> {
        Some((self.get(id)?, self.sets.get(id)?))
    }

    /// The identity of its frontends by value.
    pub(super) fn identity(&self, id: BackendSetId) -> Identity {
        self.sets.get(id).cloned()
    }

    /// Every backend set.
    pub(super) fn ids(&self) -> impl Iterator<Item = BackendSetId> + '_ {
        self.sets.iter().map(|(id, ..)| id)
    }

    /// Those that depend on an identity of addresses.
    pub(super) fn depending_on(&self, id: IdentityId) -> impl Iterator<Item = BackendSetId> + '_ {
        self.by_identity.get(&Some(id))
    }

    /// Those that a pod with this address passes only because it reaches itself.
    pub(super) fn leading_to(&self, address: IpAddr) -> impl Iterator<Item = BackendSetId> + '_ {
        self.by_hairpin.get(&address)
    }

    /// Those of which a pod with this address is one of several backends.
    pub(super) fn with_backend(&self, address: IpAddr) -> impl Iterator<Item = BackendSetId> + '_ {
        self.by_distinct.get(&address)
    }

    /// How many ids are spent on backend sets that are gone.
    pub(super) fn spent(&self) -> usize {
        self.sets.spent()
    }

    /// Whether no invariant was found broken.
    pub(super) fn is_sound(&self) -> bool {
        self.sets.is_sound()
    }
}

impl BackendSet {
    /// The backend set of a frontend, without hairpins.
    pub(super) fn new(
        frontend: Frontend,
        service: &ServiceBackends,
        identities: &Identities,
    ) -> Self {
        let hairpins = BTreeSet::new();
        if service.backends.is_empty() {
            let backends = BTreeSet::new();
            let (protocol, distinct) = (Protocol::Tcp, BTreeMap::new());
            return Self { protocol, backends, frontend: None, hairpins, distinct };
        }
        let mut distinct: BTreeMap<_, _> =
            service.backends.iter().map(|&(at, port)| ((at, port), identities.of(at))).collect();
        let backends: BTreeSet<IdentityPort> =
            distinct.iter().map(|(&(_, port), &id)| (id, port)).collect();
        if backends.len() == 1 {
            distinct.clear();
        }
        Self {
            protocol: frontend.protocol,
            backends,
            frontend: service
                .checks_frontend
                .then(|| (identities.of(frontend.address), frontend.port)),
            hairpins,
            distinct,
        }
    }

    fn identities(&self) -> impl Iterator<Item = Option<IdentityId>> + '_ {
        self.backends.iter().chain(&self.frontend).map(|(id, _)| *id)
    }

    /// The backend set by value.
    fn key(&self, identities: &Identities) -> FrontendKey {
        if self.backends.is_empty() {
            return FrontendKey::NoBackend;
        }
        let value = |&(id, port): &IdentityPort| (identities.identity(id), port);
        FrontendKey::Backends {
            protocol: self.protocol,
            backends: self.backends.iter().map(value).collect(),
            frontend: self.frontend.as_ref().map(value),
            hairpins: self.hairpins.clone(),
            addresses: self.distinct.keys().copied().collect(),
        }
    }

    /// What happens to a connection from a pod that the frontend does not lead back to.
    pub(super) fn outcome(&self, map: &IdAllowMap) -> FrontendOutcome {
        let is_allowed = |&(id, port): &IdentityPort| map.allows(id, self.protocol, port);
        let count = self.backends.iter().filter(|backend| is_allowed(backend)).count();
        if self.backends.is_empty() {
            FrontendOutcome::Refuse(Reason::ServiceNoBackend)
        } else if count == 0 || !self.frontend.as_ref().is_none_or(is_allowed) {
            FrontendOutcome::Refuse(Reason::ServiceDenied)
        } else if count < self.backends.len() {
            let allowed = self.distinct.iter().filter(|((_, port), id)| is_allowed(&(**id, *port)));
            FrontendOutcome::Some(ServiceBackends {
                backends: Arc::new(allowed.map(|(backend, _)| *backend).collect()),
                checks_frontend: self.frontend.is_some(),
            })
        } else {
            FrontendOutcome::Pass
        }
    }

    /// Whether an address is that of a backend that is one of several.
    pub(super) fn distinct(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.distinct.keys().map(|(address, _)| *address)
    }
}
