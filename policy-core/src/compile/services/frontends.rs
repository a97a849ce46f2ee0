//! Frontends: what is behind each, and what becomes of a connection to it (S39-S42).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use crate::{
    compile::{
        allow::{
            table::AllowTable,
            tables::{AllowTables, TableChanges, TableId},
        },
        identities::addresses::{AddressChanges, Identities},
        services::{
            backend_set::{BackendSet, BackendSetChanges, BackendSetId, BackendSets},
            resolve::{self, ServiceBackends},
        },
    },
    desired::{AllowMap, Desired, Frontend, FrontendOutcome, IdentityKey},
    model::{ObjectName, Protocol, Snapshot},
};

/// The frontends of the cluster. None are kept where nothing isolates egress: no look-up of one is
/// ever made there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frontends {
    is_active: bool,
    places: BTreeMap<Frontend, Place>,
    /// Frontends of each Service.
    services: BTreeMap<ObjectName, Box<[Frontend]>>,
    /// Frontends by the addresses that they depend on: those of backends, and their own where
    /// policy must allow it.
    at: BTreeSet<(IpAddr, Frontend)>,
    behinds: BackendSets,
    /// Pods that egress policy isolates: by address, their table.
    callers: BTreeMap<IpAddr, TableId>,
    /// Frontends to look at again.
    dirty: BTreeSet<Frontend>,
}

#[derive(Clone, Debug)]
struct Place {
    /// What each Service has there.
    parts: Box<[(Arc<ObjectName>, ServiceBackends)]>,
    target: ServiceBackends,
    behind: Option<BackendSetId>,
}

/// What of the frontends changed.
#[derive(Debug, Default)]
pub(crate) struct FrontendChanges {
    /// Addresses that are led back to, or no longer.
    pub(crate) own: BTreeSet<IpAddr>,
    /// Contents with other outcomes.
    pub(crate) contents: BTreeSet<TableId>,
    /// How many frontends were looked at.
    pub(crate) judged: usize,
}

impl Frontends {
    /// Whether frontends are kept.
    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes over who is isolated for egress; tells whether every Service must be entered anew.
    pub(crate) fn call(&mut self, callers: BTreeMap<IpAddr, TableId>, isolated: bool) -> bool {
        for (address, table) in &callers {
            if self.callers.get(address) != Some(table) {
                touch(&mut self.dirty, &self.at, *address);
            }
        }
        for address in self.callers.keys().filter(|address| !callers.contains_key(address)) {
            touch(&mut self.dirty, &self.at, *address);
        }
        self.callers = callers;
        let begins = isolated && !self.is_active;
        self.is_active = isolated;
        begins
    }

    /// Enters what a Service has by now.
    pub(crate) fn enter(
        &mut self,
        name: &ObjectName,
        snapshot: &Snapshot,
        nodes: &BTreeSet<IpAddr>,
    ) {
        let service = snapshot.services.get(name).filter(|_| self.is_active);
        let new = service.map(|service| resolve::frontends(name, service, snapshot, nodes));
        let mut parts: BTreeMap<Frontend, ServiceBackends> = BTreeMap::new();
        for (frontend, target) in new.into_iter().flatten() {
            parts.entry(frontend).and_modify(|known| known.join(&target)).or_insert(target);
        }
        let old = self.services.remove(name).unwrap_or_default();
        if !parts.is_empty() {
            self.services.insert(name.clone(), parts.keys().copied().collect());
        }
        let name = Arc::new(name.clone());
        for frontend in old.iter().filter(|frontend| !parts.contains_key(frontend)) {
            self.change(*frontend, &name, None);
        }
        for (frontend, target) in parts {
            self.change(frontend, &name, Some(target));
        }
    }

    fn change(
        &mut self,
        frontend: Frontend,
        service: &Arc<ObjectName>,
        part: Option<ServiceBackends>,
    ) {
        let known = self.places.get(&frontend);
        let parts = known.map(|place| &*place.parts).unwrap_or_default();
        let old = parts.iter().find(|(name, _)| name == service);
        if old.map(|(_, target)| target) == part.as_ref() {
            return;
        }
        self.dirty.insert(frontend);
        let others = parts.iter().filter(|(name, _)| name != service).cloned();
        let new = part.map(|part| (Arc::clone(service), part));
        let parts: Box<[_]> = others.chain(new).collect();
        let targets = parts.iter().map(|(_, target)| target.clone());
        let joined = targets.reduce(|mut all, part| {
            all.join(&part);
            all
        });
        if let Some(place) = known {
            for address in depends_on(&frontend, &place.target) {
                self.at.remove(&(address, frontend));
            }
        }
        // One that nobody has any more is kept until it was looked at.
        let target = joined.unwrap_or_else(|| ServiceBackends {
            backends: Arc::default(),
            checks_frontend: false,
        });
        self.at.extend(depends_on(&frontend, &target).map(|address| (address, frontend)));
        let behind = known.and_then(|place| place.behind);
        self.places.insert(frontend, Place { parts, target, behind });
    }

    /// Every Service that something is kept of.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.services.keys()
    }

    /// Brings all of it up to date.
    pub(crate) fn follow(
        &mut self,
        addresses: &AddressChanges,
        tables: &mut AllowTables,
        changed: &TableChanges,
        identities: &Identities,
        desired: &mut Desired,
    ) -> FrontendChanges {
        for address in &addresses.moved {
            touch(&mut self.dirty, &self.at, *address);
        }
        if addresses.around {
            self.dirty.extend(self.places.keys());
        }
        // What a table grants to a meaning lasts as long as the meaning does, so that a table with
        // other entries is no further reason to look at what leads back to its callers.
        let dirty = std::mem::take(&mut self.dirty);
        let mut done = FrontendChanges { judged: dirty.len(), ..FrontendChanges::default() };
        for frontend in dirty {
            self.judge(frontend, tables, identities, desired);
        }
        let behinds = self.behinds.take_changes();
        let gone = behinds.went.iter().map(|(_, behind)| &behind.own);
        let came = behinds.came.iter().filter_map(|id| self.behinds.get(*id)).map(|one| &one.own);
        done.own.extend(gone.chain(came).flatten());
        self.outcomes(tables, changed, &behinds, &mut done);
        done
    }

    fn judge(
        &mut self,
        frontend: Frontend,
        tables: &AllowTables,
        identities: &Identities,
        desired: &mut Desired,
    ) {
        let Some(place) = self.places.get(&frontend) else { return };
        let before = place.behind;
        if place.parts.is_empty() {
            self.places.remove(&frontend);
            desired.frontends.remove(&frontend);
        } else {
            let mut behind = BackendSet::new(frontend, &place.target, identities);
            behind.own = self.own(frontend, &place.target, tables, identities);
            let id = self.behinds.acquire(behind, &identities.numbers);
            if before != Some(id) {
                desired.frontends.insert(frontend, self.behinds.identity(id));
            }
            if let Some(place) = self.places.get_mut(&frontend) {
                place.behind = Some(id);
            }
        }
        if let Some(before) = before {
            self.behinds.release(before);
        }
    }

    /// The callers that a frontend lets pass only because it leads back to them. Who is behind an
    /// address of several pods is not known, so that it leads back to none of them.
    fn own(
        &self,
        frontend: Frontend,
        target: &ServiceBackends,
        tables: &AllowTables,
        identities: &Identities,
    ) -> BTreeSet<IpAddr> {
        let leads_back = |address: &IpAddr, table: &AllowTable| {
            let allows = |at, port| table.allows(identities.of(at), frontend.protocol, port);
            let mut others = target.backends.iter().filter(|(at, _)| at != address);
            let mut mine = target.backends.iter().filter(|(at, _)| at == address);
            let checks_frontend =
                !target.checks_frontend || allows(frontend.address, frontend.port);
            let needed = !mine.all(|&(at, port)| allows(at, port));
            needed && checks_frontend && others.all(|&(at, port)| allows(at, port))
        };
        let backends = target.backends.iter().map(|(address, _)| address);
        let callers = backends.filter(|address| !identities.is_shared(**address));
        let found = callers.filter(|address| {
            let table = self.callers.get(*address).and_then(|table| tables.get(*table));
            table.is_some_and(|table| leads_back(address, table))
        });
        found.copied().collect()
    }

    /// Writes outcomes into the contents for egress, but those that a look-up without an entry
    /// gives anyway.
    fn outcomes(
        &self,
        tables: &mut AllowTables,
        changed: &TableChanges,
        behinds: &BackendSetChanges,
        done: &mut FrontendChanges,
    ) {
        for id in tables.of_egress() {
            let mut ask: BTreeSet<BackendSetId> = behinds.came.iter().copied().collect();
            if changed.new.contains(&id) {
                ask = self.behinds.ids().collect();
            }
            let meanings = changed.entries.get(&id).into_iter().flatten();
            ask.extend(meanings.flat_map(|meaning| self.behinds.at(*meaning)));
            let Some((table, content)) = tables.get_mut(id) else { continue };
            let mut edits: Vec<(&IdentityKey, Option<FrontendOutcome>)> = Vec::new();
            if !changed.new.contains(&id) {
                edits.extend(behinds.went.iter().map(|(meaning, _)| (meaning, None)));
            }
            for (behind, meaning) in ask.iter().filter_map(|id| self.behinds.with_meaning(*id)) {
                let outcome = behind.outcome(table);
                edits.push((meaning, (outcome != fallback(table)).then_some(outcome)));
            }
            if put(content, &edits) {
                done.contents.insert(id);
            }
        }
    }

    /// The content of a pod: that of its table, with what leads back to its own addresses.
    pub(crate) fn content_of(
        &self,
        content: &Arc<AllowMap>,
        table: &AllowTable,
        addresses: &[IpAddr],
    ) -> Arc<AllowMap> {
        let back = addresses.iter().flat_map(|address| self.behinds.leading_to(*address));
        let mut edits: Vec<(&IdentityKey, Option<FrontendOutcome>)> = Vec::new();
        for (_, meaning) in back.filter_map(|id| self.behinds.with_meaning(id)) {
            let outcome = FrontendOutcome::Pass;
            edits.push((meaning, (outcome != fallback(table)).then_some(outcome)));
        }
        let mut content = Arc::clone(content);
        put(&mut content, &edits);
        content
    }
}

/// Marks the frontends that depend on an address.
fn touch(dirty: &mut BTreeSet<Frontend>, at: &BTreeSet<(IpAddr, Frontend)>, address: IpAddr) {
    const FIRST: Frontend =
        Frontend { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), protocol: Protocol::Tcp, port: 0 };
    let here = at.range((address, FIRST)..).take_while(|(at, _)| *at == address);
    dirty.extend(here.map(|(_, frontend)| *frontend));
}

/// The addresses whose identity decides about a frontend.
fn depends_on<'a>(
    frontend: &Frontend,
    target: &'a ServiceBackends,
) -> impl Iterator<Item = IpAddr> + 'a {
    let checks_frontend = target.checks_frontend.then_some(frontend.address);
    target.backends.iter().map(|(address, _)| *address).chain(checks_frontend)
}

fn fallback(table: &AllowTable) -> FrontendOutcome {
    if table.is_open() {
        FrontendOutcome::Pass
    } else {
        FrontendOutcome::Refuse(policy_common::drops::Reason::ServiceDenied)
    }
}

/// Carries edits out that change something; tells whether there were any.
fn put(content: &mut Arc<AllowMap>, edits: &[(&IdentityKey, Option<FrontendOutcome>)]) -> bool {
    let mut changed = false;
    for (meaning, outcome) in edits {
        let key = Some((*meaning).clone());
        if content.frontends.get(&key) == outcome.as_ref() {
            continue;
        }
        let frontends = &mut Arc::make_mut(content).frontends;
        match outcome {
            Some(outcome) => drop(frontends.insert(key, *outcome)),
            None => drop(frontends.remove(&key)),
        }
        changed = true;
    }
    changed
}
