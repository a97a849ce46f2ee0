//! Frontend identities, and what becomes of a connection to each (S39-S42).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use policy_common::drops::Reason;

use crate::{
    desired::{Frontend, FrontendOutcome},
    model::Protocol,
};

use super::{grant::Table, identity::Identities, meaning::FrontendMeaning, service::Target};

/// What is behind frontends of one identity, in numbers of this compilation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Behind {
    /// Of the frontend and the backends; the same for all frontends without backends.
    protocol: Protocol,
    backends: BTreeSet<(u32, u16)>,
    literal: Option<(u32, u16)>,
    /// Pods that pass because they reach themselves.
    own: BTreeSet<IpAddr>,
}

/// The frontends of the cluster by identity.
#[derive(Default)]
pub(super) struct Frontends {
    pub(super) identities: BTreeMap<Frontend, u32>,
    pub(super) behind: Vec<Behind>,
    /// Number of the first of `behind`.
    first: u32,
}

/// A pod that egress policy isolates: its addresses and its table.
pub(super) type Caller<'a> = (&'a [IpAddr], &'a Table);

impl Frontends {
    /// Numbers the frontends after the identities of addresses.
    pub(super) fn number(
        targets: &BTreeMap<Frontend, Target>,
        identities: &Identities,
        callers: &[Caller<'_>],
    ) -> Self {
        let own = own(targets, identities, callers);
        let mut all = Self {
            first: u32::try_from(identities.meanings.len() + 1).unwrap_or(u32::MAX),
            ..Self::default()
        };
        let mut index: HashMap<Behind, u32> = HashMap::new();
        for (frontend, target) in targets {
            let mut behind = Behind::new(*frontend, target, identities);
            behind.own = own.get(frontend).cloned().unwrap_or_default();
            let next = all.first + u32::try_from(all.behind.len()).unwrap_or(u32::MAX);
            let number = *index.entry(behind.clone()).or_insert(next);
            if number == next {
                all.behind.push(behind);
            }
            all.identities.insert(*frontend, number);
        }
        all
    }

    /// Whether some frontend lets this address pass because it leads back to it.
    pub(super) fn leads_back(&self, address: IpAddr) -> bool {
        self.behind.iter().any(|behind| behind.own.contains(&address))
    }

    /// Outcomes for a table, but those that a look-up without an entry gives anyway.
    pub(super) fn outcomes(
        &self,
        table: &Table,
        addresses: &[IpAddr],
    ) -> BTreeMap<u32, FrontendOutcome> {
        let open = table.of(0).is_some_and(|ports| ports.every_protocol);
        let fallback = if open {
            FrontendOutcome::Pass
        } else {
            FrontendOutcome::Refuse(Reason::ServiceDenied)
        };
        let outcome = |behind: &Behind| behind.outcome(table, addresses);
        let all = (self.first..).zip(self.behind.iter().map(outcome));
        all.filter(|(_, outcome)| *outcome != fallback).collect()
    }
}

impl Behind {
    fn new(frontend: Frontend, target: &Target, identities: &Identities) -> Self {
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

    /// What it means, by value.
    pub(super) fn meaning(&self, identities: &Identities) -> FrontendMeaning {
        if self.backends.is_empty() {
            return FrontendMeaning::NoBackend;
        }
        let value = |&(identity, port): &(u32, u16)| (identities.meaning(identity).cloned(), port);
        FrontendMeaning::Backends {
            protocol: self.protocol,
            backends: self.backends.iter().map(value).collect(),
            literal: self.literal.as_ref().map(value),
            own: self.own.clone(),
        }
    }

    fn outcome(&self, table: &Table, addresses: &[IpAddr]) -> FrontendOutcome {
        let allowed = |&(at, port): &(u32, u16)| table.allows(at, self.protocol, port);
        let count = self.backends.iter().filter(|backend| allowed(backend)).count();
        if self.backends.is_empty() {
            FrontendOutcome::Refuse(Reason::ServiceNoBackend)
        } else if addresses.iter().any(|address| self.own.contains(address)) {
            FrontendOutcome::Pass
        } else if count == 0 || !self.literal.as_ref().is_none_or(allowed) {
            FrontendOutcome::Refuse(Reason::ServiceDenied)
        } else if count < self.backends.len() {
            FrontendOutcome::Refuse(Reason::ServicePartlyDenied)
        } else {
            FrontendOutcome::Pass
        }
    }
}

/// For each frontend, the callers that it lets pass only because it leads back to them. Who is
/// behind an address of several pods is not known, so that it leads back to none of them.
fn own(
    targets: &BTreeMap<Frontend, Target>,
    identities: &Identities,
    callers: &[Caller<'_>],
) -> BTreeMap<Frontend, BTreeSet<IpAddr>> {
    let mut by_backend: BTreeMap<IpAddr, BTreeSet<Frontend>> = BTreeMap::new();
    let addresses: BTreeSet<IpAddr> = callers.iter().flat_map(|(own, _)| *own).copied().collect();
    for (frontend, target) in targets {
        for (backend, _) in target.backends.iter().filter(|(at, _)| addresses.contains(at)) {
            by_backend.entry(*backend).or_default().insert(*frontend);
        }
    }
    let mut found: BTreeMap<Frontend, BTreeSet<IpAddr>> = BTreeMap::new();
    for (addresses, table) in callers {
        for address in addresses.iter().filter(|address| !identities.shared.contains(address)) {
            for frontend in by_backend.get(address).into_iter().flatten() {
                let Some(target) = targets.get(frontend) else {
                    continue;
                };
                let allows = |at, port| table.allows(identities.of(at), frontend.protocol, port);
                let mut others = target.backends.iter().filter(|(at, _)| at != address);
                let mut mine = target.backends.iter().filter(|(at, _)| at == address);
                let literal = !target.literal || allows(frontend.address, frontend.port);
                let needed = !mine.all(|&(at, port)| allows(at, port));
                if needed && literal && others.all(|&(at, port)| allows(at, port)) {
                    found.entry(*frontend).or_default().insert(*address);
                }
            }
        }
    }
    found
}
