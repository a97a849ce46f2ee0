//! What is behind frontends, as far as policy tells backends apart: identities of frontends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use policy_common::drops::Reason;

use crate::{
    compile::{
        allow::table::AllowTable,
        identities::{
            addresses::Identities,
            numbers::{IdentityId, Numbers},
        },
        identity_key::{FrontendKey, IdentityKind},
        services::resolve::ServiceBackends,
    },
    desired::{Frontend, FrontendOutcome, Identity, IdentityKey},
    model::Protocol,
};

/// Number of an identity of frontends, never given out again.
pub(crate) type BackendSetId = u64;

/// What is behind frontends of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BackendSet {
    /// Of the frontend and the backends; the same for all frontends without backends.
    protocol: Protocol,
    backends: BTreeSet<(IdentityId, u16)>,
    checks_frontend: Option<(IdentityId, u16)>,
    /// Pods that pass because they reach themselves.
    pub(crate) own: BTreeSet<IpAddr>,
}

/// Identities of frontends.
#[derive(Clone, Debug, Default)]
pub(crate) struct BackendSets {
    all: BTreeMap<BackendSetId, Known>,
    index: HashMap<Arc<BackendSet>, BackendSetId>,
    by_meaning: HashMap<IdentityId, BTreeSet<BackendSetId>>,
    by_own: BTreeMap<IpAddr, BTreeSet<BackendSetId>>,
    next: BackendSetId,
    /// Identities that came into use or fell out of it, and whether they were in use before.
    touched: BTreeMap<BackendSetId, bool>,
}

#[derive(Clone, Debug)]
struct Known {
    behind: Arc<BackendSet>,
    meaning: IdentityKey,
    uses: usize,
}

/// What came and what went.
#[derive(Debug, Default)]
pub(crate) struct BackendSetChanges {
    pub(crate) came: Vec<BackendSetId>,
    pub(crate) went: Vec<(IdentityKey, Arc<BackendSet>)>,
}

impl BackendSets {
    /// The number of an identity for one more use.
    pub(crate) fn acquire(&mut self, behind: BackendSet, numbers: &Numbers) -> BackendSetId {
        if let Some(&id) = self.index.get(&behind) {
            if let Some(known) = self.all.get_mut(&id) {
                if known.uses == 0 {
                    self.touched.entry(id).or_insert(false);
                }
                known.uses += 1;
            }
            return id;
        }
        self.next += 1;
        let id = self.next;
        for meaning in behind.meanings() {
            self.by_meaning.entry(meaning).or_default().insert(id);
        }
        for address in &behind.own {
            self.by_own.entry(*address).or_default().insert(id);
        }
        let meaning = IdentityKey(IdentityKind::Frontends(Arc::new(behind.meaning(numbers))));
        let behind = Arc::new(behind);
        self.index.insert(Arc::clone(&behind), id);
        self.all.insert(id, Known { behind, meaning, uses: 1 });
        self.touched.insert(id, false);
        id
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: BackendSetId) {
        let Some(known) = self.all.get_mut(&id) else { return };
        known.uses -= 1;
        if known.uses == 0 {
            self.touched.entry(id).or_insert(true);
        }
    }

    /// What came and what went since it was last asked.
    pub(crate) fn take_changes(&mut self) -> BackendSetChanges {
        let mut changes = BackendSetChanges::default();
        for (id, before) in std::mem::take(&mut self.touched) {
            let in_use = self.all.get(&id).is_some_and(|known| known.uses > 0);
            if in_use && !before {
                changes.came.push(id);
            } else if !in_use {
                changes.went.extend(self.remove(id).map(|gone| (gone.meaning, gone.behind)));
            }
        }
        changes
    }

    fn remove(&mut self, id: BackendSetId) -> Option<Known> {
        let gone = self.all.remove(&id)?;
        self.index.remove(&gone.behind);
        for meaning in gone.behind.meanings() {
            if let Some(ids) = self.by_meaning.get_mut(&meaning) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_meaning.remove(&meaning);
                }
            }
        }
        for address in &gone.behind.own {
            if let Some(ids) = self.by_own.get_mut(address) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_own.remove(address);
                }
            }
        }
        Some(gone)
    }

    /// What is behind an identity.
    pub(crate) fn get(&self, id: BackendSetId) -> Option<&BackendSet> {
        self.all.get(&id).map(|known| &*known.behind)
    }

    /// The same, and the identity by value.
    pub(crate) fn with_meaning(&self, id: BackendSetId) -> Option<(&BackendSet, &IdentityKey)> {
        self.all.get(&id).map(|known| (&*known.behind, &known.meaning))
    }

    /// The identity by value.
    pub(crate) fn identity(&self, id: BackendSetId) -> Identity {
        self.all.get(&id).map(|known| known.meaning.clone())
    }

    /// Every identity.
    pub(crate) fn ids(&self) -> impl Iterator<Item = BackendSetId> + '_ {
        self.all.keys().copied()
    }

    /// Those that depend on a meaning of addresses.
    pub(crate) fn at(&self, meaning: IdentityId) -> impl Iterator<Item = BackendSetId> + '_ {
        self.by_meaning.get(&meaning).into_iter().flatten().copied()
    }

    /// Those that a pod with this address passes because it reaches itself.
    pub(crate) fn leading_to(&self, address: IpAddr) -> impl Iterator<Item = BackendSetId> + '_ {
        self.by_own.get(&address).into_iter().flatten().copied()
    }
}

impl BackendSet {
    /// What is behind a frontend; `own` is yet to be found.
    pub(crate) fn new(
        frontend: Frontend,
        target: &ServiceBackends,
        identities: &Identities,
    ) -> Self {
        if target.backends.is_empty() {
            let (backends, own) = (BTreeSet::new(), BTreeSet::new());
            return Self { protocol: Protocol::Tcp, backends, checks_frontend: None, own };
        }
        let backends = target.backends.iter();
        Self {
            protocol: frontend.protocol,
            backends: backends.map(|&(at, port)| (identities.of(at), port)).collect(),
            checks_frontend: target
                .checks_frontend
                .then(|| (identities.of(frontend.address), frontend.port)),
            own: BTreeSet::new(),
        }
    }

    fn meanings(&self) -> impl Iterator<Item = IdentityId> + '_ {
        self.backends.iter().chain(&self.checks_frontend).map(|(meaning, _)| *meaning)
    }

    /// What it means, by value.
    fn meaning(&self, numbers: &Numbers) -> FrontendKey {
        if self.backends.is_empty() {
            return FrontendKey::NoBackend;
        }
        let value = |&(id, port): &(IdentityId, u16)| (numbers.identity(id), port);
        FrontendKey::Backends {
            protocol: self.protocol,
            backends: self.backends.iter().map(value).collect(),
            checks_frontend: self.checks_frontend.as_ref().map(value),
            own: self.own.clone(),
        }
    }

    /// What becomes of a connection from a pod that is not behind it.
    pub(crate) fn outcome(&self, table: &AllowTable) -> FrontendOutcome {
        let allowed = |&(at, port): &(IdentityId, u16)| table.allows(at, self.protocol, port);
        let count = self.backends.iter().filter(|backend| allowed(backend)).count();
        if self.backends.is_empty() {
            FrontendOutcome::Refuse(Reason::ServiceNoBackend)
        } else if count == 0 || !self.checks_frontend.as_ref().is_none_or(allowed) {
            FrontendOutcome::Refuse(Reason::ServiceDenied)
        } else if count < self.backends.len() {
            FrontendOutcome::Refuse(Reason::ServicePartlyDenied)
        } else {
            FrontendOutcome::Pass
        }
    }
}
