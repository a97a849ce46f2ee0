//! What is behind frontends, as far as policy tells backends apart: identities of frontends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use policy_common::drops::Reason;

use crate::{
    compile::{
        allow::table::Table,
        identities::{
            addresses::Identities,
            numbers::{MeaningId, Numbers},
        },
        identity_key::{FrontendMeaning, MeaningOf},
        services::resolve::Target,
    },
    desired::{Frontend, FrontendOutcome, Identity, Meaning},
    model::Protocol,
};

/// Number of an identity of frontends, never given out again.
pub(crate) type BehindId = u64;

/// What is behind frontends of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Behind {
    /// Of the frontend and the backends; the same for all frontends without backends.
    protocol: Protocol,
    backends: BTreeSet<(MeaningId, u16)>,
    literal: Option<(MeaningId, u16)>,
    /// Pods that pass because they reach themselves.
    pub(crate) own: BTreeSet<IpAddr>,
}

/// Identities of frontends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behinds {
    all: BTreeMap<BehindId, Known>,
    index: HashMap<Arc<Behind>, BehindId>,
    by_meaning: HashMap<MeaningId, BTreeSet<BehindId>>,
    by_own: BTreeMap<IpAddr, BTreeSet<BehindId>>,
    next: BehindId,
    /// Identities that came into use or fell out of it, and whether they were in use before.
    touched: BTreeMap<BehindId, bool>,
}

#[derive(Clone, Debug)]
struct Known {
    behind: Arc<Behind>,
    meaning: Meaning,
    uses: usize,
}

/// What came and what went.
#[derive(Debug, Default)]
pub(crate) struct BehindChanges {
    pub(crate) came: Vec<BehindId>,
    pub(crate) went: Vec<(Meaning, Arc<Behind>)>,
}

impl Behinds {
    /// The number of an identity for one more use.
    pub(crate) fn acquire(&mut self, behind: Behind, numbers: &Numbers) -> BehindId {
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
        let meaning = Meaning(MeaningOf::Frontends(Arc::new(behind.meaning(numbers))));
        let behind = Arc::new(behind);
        self.index.insert(Arc::clone(&behind), id);
        self.all.insert(id, Known { behind, meaning, uses: 1 });
        self.touched.insert(id, false);
        id
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: BehindId) {
        let Some(known) = self.all.get_mut(&id) else { return };
        known.uses -= 1;
        if known.uses == 0 {
            self.touched.entry(id).or_insert(true);
        }
    }

    /// What came and what went since it was last asked.
    pub(crate) fn take_changes(&mut self) -> BehindChanges {
        let mut changes = BehindChanges::default();
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

    fn remove(&mut self, id: BehindId) -> Option<Known> {
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
    pub(crate) fn get(&self, id: BehindId) -> Option<&Behind> {
        self.all.get(&id).map(|known| &*known.behind)
    }

    /// The same, and the identity by value.
    pub(crate) fn with_meaning(&self, id: BehindId) -> Option<(&Behind, &Meaning)> {
        self.all.get(&id).map(|known| (&*known.behind, &known.meaning))
    }

    /// The identity by value.
    pub(crate) fn identity(&self, id: BehindId) -> Identity {
        self.all.get(&id).map(|known| known.meaning.clone())
    }

    /// Every identity.
    pub(crate) fn ids(&self) -> impl Iterator<Item = BehindId> + '_ {
        self.all.keys().copied()
    }

    /// Those that depend on a meaning of addresses.
    pub(crate) fn at(&self, meaning: MeaningId) -> impl Iterator<Item = BehindId> + '_ {
        self.by_meaning.get(&meaning).into_iter().flatten().copied()
    }

    /// Those that a pod with this address passes because it reaches itself.
    pub(crate) fn leading_to(&self, address: IpAddr) -> impl Iterator<Item = BehindId> + '_ {
        self.by_own.get(&address).into_iter().flatten().copied()
    }
}

impl Behind {
    /// What is behind a frontend; `own` is yet to be found.
    pub(crate) fn new(frontend: Frontend, target: &Target, identities: &Identities) -> Self {
        if target.backends.is_empty() {
            let (backends, own) = (BTreeSet::new(), BTreeSet::new());
            return Self { protocol: Protocol::Tcp, backends, literal: None, own };
        }
        let backends = target.backends.iter();
        Self {
            protocol: frontend.protocol,
            backends: backends.map(|&(at, port)| (identities.of(at), port)).collect(),
            literal: target.literal.then(|| (identities.of(frontend.address), frontend.port)),
            own: BTreeSet::new(),
        }
    }

    fn meanings(&self) -> impl Iterator<Item = MeaningId> + '_ {
        self.backends.iter().chain(&self.literal).map(|(meaning, _)| *meaning)
    }

    /// What it means, by value.
    fn meaning(&self, numbers: &Numbers) -> FrontendMeaning {
        if self.backends.is_empty() {
            return FrontendMeaning::NoBackend;
        }
        let value = |&(id, port): &(MeaningId, u16)| (numbers.identity(id), port);
        FrontendMeaning::Backends {
            protocol: self.protocol,
            backends: self.backends.iter().map(value).collect(),
            literal: self.literal.as_ref().map(value),
            own: self.own.clone(),
        }
    }

    /// What becomes of a connection from a pod that is not behind it.
    pub(crate) fn outcome(&self, table: &Table) -> FrontendOutcome {
        let allowed = |&(at, port): &(MeaningId, u16)| table.allows(at, self.protocol, port);
        let count = self.backends.iter().filter(|backend| allowed(backend)).count();
        if self.backends.is_empty() {
            FrontendOutcome::Refuse(Reason::ServiceNoBackend)
        } else if count == 0 || !self.literal.as_ref().is_none_or(allowed) {
            FrontendOutcome::Refuse(Reason::ServiceDenied)
        } else if count < self.backends.len() {
            FrontendOutcome::Refuse(Reason::ServicePartlyDenied)
        } else {
            FrontendOutcome::Pass
        }
    }
}
