//! Frontends: what each Service or pod has there, its backend set, and the outcomes in allow maps.
//!
//! A frontend is resolved when one of its inputs changes: the backends there, the identity of one of
//! their addresses, or the pods that it leads back to. For example, when backend
//! 10.0.0.8 of 10.96.0.1:80 gets label `app=db`, and with it identity b in place of a:
//!
//! ```text
//! by_address    10.0.0.8 -> 10.96.0.1:80                      dirty: 10.96.0.1:80
//! resolve       {a:8080} -> {a:8080, b:8080}                  one backend set new, one removed
//! outcomes      allow map {a: 8080}       was pass, is some: 10.0.0.7:8080
//!               allow map {a, b: 8080}    pass, as before
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use policy_common::drops::Reason;

use crate::{
    compile::{
        allow::{Allow, AllowDelta, AllowMapId, IdAllowMap},
        desired::{AllowMap, Frontend, FrontendOutcome, ServiceBackends},
        identity_key::Identity,
        services::{
            backend_set::{BackendSet, BackendSetId, BackendSets, BackendSetsDelta},
            boundary::{EarlierDeltas, EarlierStages, ServicesDelta},
            outcomes::{self, Edit},
            resolve::{self, NodeAddresses},
        },
    },
    model::{Direction, ObjectName, Protocol, Snapshot},
};

/// Who has frontends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FrontendOwner {
    /// A Service.
    Service(ObjectName),
    /// A pod with host ports.
    Pod(ObjectName),
}

/// The frontends of the cluster. None are kept where nothing isolates egress: no packet is ever
/// looked up among them there.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontends {
    is_active: bool,
    all: BTreeMap<Frontend, ResolvedFrontend>,
    /// Frontends of each owner.
    owners: BTreeMap<FrontendOwner, Box<[Frontend]>>,
    /// Frontends by the addresses that they depend on: those of backends, and their own where
    /// policy must allow it.
    by_address: BTreeSet<(IpAddr, Frontend)>,
    backend_sets: BackendSets,
    /// The allow map of each pod that egress policy isolates, by address.
    callers: BTreeMap<IpAddr, AllowMapId>,
    /// The allow maps for egress: ports of the stage before, and outcomes of frontends.
    maps: BTreeMap<AllowMapId, Arc<AllowMap>>,
    /// Frontends to resolve.
    dirty: BTreeSet<Frontend>,
}

#[derive(Clone, Debug)]
struct ResolvedFrontend {
    /// What each owner has there.
    parts: Box<[(Arc<FrontendOwner>, ServiceBackends)]>,
    /// What all of them have together.
    service: ServiceBackends,
    set: Option<BackendSetId>,
}

impl Frontends {
    /// Whether frontends are kept.
    pub(super) fn is_active(&self) -> bool {
        self.is_active
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The frontends of each owner.
    pub(super) fn by_owner(&self) -> impl Iterator<Item = (&ObjectName, &[Frontend])> {
        self.owners.iter().map(|(owner, frontends)| {
            let (FrontendOwner::Service(name) | FrontendOwner::Pod(name)) = owner;
            (name, &**frontends)
        })
    }

    /// Every owner of frontends.
    pub(super) fn owners(&self) -> impl Iterator<Item = &FrontendOwner> {
        self.owners.keys()
    }

    /// How many ids are spent on backend sets that are gone.
    pub(super) fn spent(&self) -> usize {
        self.backend_sets.spent()
    }

    /// Whether no invariant was found broken.
    pub(super) fn is_sound(&self) -> bool {
        self.backend_sets.is_sound()
    }

    /// Takes over which addresses are isolated for egress, and whether any pod is.
    pub(super) fn set_callers(&mut self, callers: BTreeMap<IpAddr, AllowMapId>, is_active: bool) {
        for (address, map) in &callers {
            if self.callers.get(address) != Some(map) {
                mark(&mut self.dirty, &self.by_address, *address);
            }
        }
        for address in self.callers.keys().filter(|address| !callers.contains_key(address)) {
            mark(&mut self.dirty, &self.by_address, *address);
        }
        (self.callers, self.is_active) = (callers, is_active);
    }

    /// Reads the frontends of an owner from the snapshot. `own` is the node of the callers.
    pub(super) fn read(
        &mut self,
        owner: FrontendOwner,
        snapshot: &Snapshot,
        (own, nodes): (Option<&str>, &NodeAddresses),
    ) {
        let new = match &owner {
            _ if !self.is_active => None,
            FrontendOwner::Service(name) => snapshot
                .services
                .get(name)
                .map(|service| resolve::of_service(name, service, snapshot, (own, nodes))),
            FrontendOwner::Pod(name) => {
                snapshot.pods.get(name).map(|pod| resolve::of_host_ports(pod, nodes))
            }
        };
        let mut parts: BTreeMap<Frontend, ServiceBackends> = BTreeMap::new();
        for (frontend, part) in new.into_iter().flatten() {
            parts.entry(frontend).and_modify(|before| before.join(&part)).or_insert(part);
        }
        let old = self.owners.remove(&owner).unwrap_or_default();
        if !parts.is_empty() {
            self.owners.insert(owner.clone(), parts.keys().copied().collect());
        }
        let owner = Arc::new(owner);
        for frontend in old.iter().filter(|frontend| !parts.contains_key(frontend)) {
            self.change(*frontend, &owner, None);
        }
        for (frontend, part) in parts {
            self.change(frontend, &owner, Some(part));
        }
    }

    /// Exchanges what an owner has at a frontend.
    fn change(
        &mut self,
        frontend: Frontend,
        owner: &Arc<FrontendOwner>,
        part: Option<ServiceBackends>,
    ) {
        let before = self.all.get(&frontend);
        let parts = before.map(|before| &*before.parts).unwrap_or_default();
        let old = parts.iter().find(|(one, _)| one == owner);
        if old.map(|(_, old)| old) == part.as_ref() {
            return;
        }
        self.dirty.insert(frontend);
        let others = parts.iter().filter(|(one, _)| one != owner).cloned();
        let parts: Box<[_]> = others.chain(part.map(|part| (Arc::clone(owner), part))).collect();
        // A frontend that no owner has any longer is kept until it is resolved.
        let service = ServiceBackends::union(parts.iter().map(|(_, part)| part.clone()));
        let service = service.unwrap_or_default();
        if let Some(before) = before {
            for address in depends_on(&frontend, &before.service) {
                self.by_address.remove(&(address, frontend));
            }
        }
        let depends_on = depends_on(&frontend, &service);
        self.by_address.extend(depends_on.map(|address| (address, frontend)));
        let set = before.and_then(|before| before.set);
        self.all.insert(frontend, ResolvedFrontend { parts, service, set });
    }

    /// Resolves the frontends with other addresses or callers, and judges them.
    pub(super) fn update(
        &mut self,
        before: EarlierStages<'_>,
        deltas: EarlierDeltas<'_>,
    ) -> ServicesDelta {
        for address in &deltas.identities.moved {
            mark(&mut self.dirty, &self.by_address, *address);
        }
        if deltas.identities.blocks {
            self.dirty.extend(self.all.keys());
        }
        // What an allow map allows to an identity stays as long as the identity does. Other entries
        // of allow maps are therefore no reason to find hairpins once more.
        let dirty = std::mem::take(&mut self.dirty);
        let mut delta = ServicesDelta { resolved: dirty.len(), ..ServicesDelta::default() };
        for frontend in dirty {
            let resolved = self.resolve(frontend, before);
            delta.frontends.push((frontend, resolved));
        }
        let sets = self.backend_sets.take_delta();
        let removed = sets.removed.iter().map(|gone| &*gone.key);
        let added = sets.added.iter().filter_map(|id| self.backend_sets.get(*id));
        for set in removed.chain(added) {
            delta.hairpins.extend(set.hairpins.iter().copied().chain(set.distinct()));
        }
        delta.maps = self.judge(&sets, before.allow, deltas.allow);
        delta
    }

    /// The identity of a frontend and its backends; `None` where it is gone.
    fn resolve(
        &mut self,
        frontend: Frontend,
        before: EarlierStages<'_>,
    ) -> Option<(Identity, ServiceBackends)> {
        let resolved = self.all.get(&frontend)?;
        let (old, service) = (resolved.set, resolved.service.clone());
        let identity = if resolved.parts.is_empty() {
            self.all.remove(&frontend);
            None
        } else {
            let mut set = BackendSet::new(frontend, &service, before.identities);
            set.hairpins = self.hairpins(frontend, &service, before);
            let id = self.backend_sets.acquire(set, before.identities);
            if let Some(resolved) = self.all.get_mut(&frontend) {
                resolved.set = Some(id);
            }
            Some(self.backend_sets.identity(id))
        };
        // Released last: a set that the frontend keeps stays in use.
        if let Some(old) = old {
            self.backend_sets.release(old);
        }
        Some((identity?, service))
    }

    /// The callers that a frontend lets pass only because it leads back to them. An address of
    /// several pods leads back to none: which of them answers is unknown.
    fn hairpins(
        &self,
        frontend: Frontend,
        service: &ServiceBackends,
        before: EarlierStages<'_>,
    ) -> BTreeSet<IpAddr> {
        let leads_back = |address: &IpAddr, map: &IdAllowMap| {
            let of = |at| before.identities.of(at);
            let allows = |at, port| map.allows(of(at), frontend.protocol, port);
            let mut others = service.backends.iter().filter(|(at, _)| at != address);
            let mut own = service.backends.iter().filter(|(at, _)| at == address);
            let frontend_passes =
                !service.checks_frontend || allows(frontend.address, frontend.port);
            // Where policy allows the pod itself, the frontend passes without being a hairpin.
            let is_needed = !own.all(|&(at, port)| allows(at, port));
            is_needed && frontend_passes && others.all(|&(at, port)| allows(at, port))
        };
        let backends = service.backends.iter().map(|(address, _)| address);
        let callers = backends.filter(|address| !before.peers.is_shared(**address));
        let found = callers.filter(|address| {
            let map = self.callers.get(*address).and_then(|map| before.allow.get(*map));
            map.is_some_and(|map| leads_back(address, map))
        });
        found.copied().collect()
    }

    /// Brings the allow maps for egress up to date with ports and outcomes; returns those that
    /// changed.
    fn judge(
        &mut self,
        sets: &BackendSetsDelta,
        allow: &Allow,
        maps: &AllowDelta,
    ) -> BTreeSet<AllowMapId> {
        for gone in &maps.removed {
            self.maps.remove(gone);
        }
        let mut changed = BTreeSet::new();
        for id in allow.of(Direction::Egress) {
            let is_new = maps.added.contains(&id);
            // A new allow map judges every backend set, an old one those that are new or depend on an
            // identity with another entry.
            let mut judged = sets.added.clone();
            if is_new {
                judged = self.backend_sets.ids().collect();
            }
            let entries = maps.entries.get(&id).into_iter().flatten();
            judged.extend(entries.flat_map(|entry| self.backend_sets.depending_on(*entry)));
            let Some((map, ports)) = allow.with_map(id) else { continue };
            // The ports are those of the stage before, and shared with it.
            let allow_map = self.maps.entry(id).or_default();
            if !Arc::ptr_eq(&allow_map.ports, &ports.ports) {
                Arc::make_mut(allow_map).ports = Arc::clone(&ports.ports);
                changed.insert(id);
            }
            let mut edits: Vec<Edit<'_>> = Vec::new();
            // Removals first: a backend set that comes back under another id has the same key.
            if !is_new {
                edits.extend(sets.removed.iter().map(|gone| (&gone.value, None)));
            }
            for (set, key) in judged.iter().filter_map(|id| self.backend_sets.with_key(*id)) {
                edits.push(outcomes::edit(key, set.outcome(map), map));
            }
            if outcomes::apply(allow_map, &edits) {
                changed.insert(id);
            }
        }
        changed
    }

    /// The allow map of a pod: that of its policies, with what leads back to its own addresses.
    pub(super) fn allow_map_of(
        &self,
        id: AllowMapId,
        map: &IdAllowMap,
        addresses: &[IpAddr],
    ) -> Option<Arc<AllowMap>> {
        let sets = addresses.iter().flat_map(|address| self.backend_sets.leading_to(*address));
        let keys = sets.filter_map(|id| self.backend_sets.with_key(id)).map(|(_, key)| key);
        let mut edits: Vec<_> =
            keys.map(|key| outcomes::edit(key, FrontendOutcome::Pass, map)).collect();
        let own = addresses.iter().flat_map(|address| self.backend_sets.with_backend(*address));
        // A connection cannot be sent back to its own pod.
        let is_own = |(address, _): &(IpAddr, u16)| addresses.contains(address);
        for (set, key) in own.filter_map(|id| self.backend_sets.with_key(id)) {
            if let FrontendOutcome::Some(allowed) = set.outcome(map)
                && allowed.backends.iter().all(is_own)
                && addresses.iter().all(|address| !set.hairpins.contains(address))
            {
                let refuse = FrontendOutcome::Refuse(Reason::ServicePartlyDenied);
                edits.push(outcomes::edit(key, refuse, map));
            }
        }
        let mut allow_map = Arc::clone(self.maps.get(&id)?);
        outcomes::apply(&mut allow_map, &edits);
        Some(allow_map)
    }
}

/// Marks the frontends that depend on an address.
fn mark(
    dirty: &mut BTreeSet<Frontend>,
    by_address: &BTreeSet<(IpAddr, Frontend)>,
    address: IpAddr,
) {
    const FIRST: Frontend =
        Frontend { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), protocol: Protocol::Tcp, port: 0 };
    let here = by_address.range((address, FIRST)..).take_while(|(at, _)| *at == address);
    dirty.extend(here.map(|(_, frontend)| *frontend));
}

/// The addresses that a frontend depends on by their identity.
fn depends_on<'a>(
    frontend: &Frontend,
    service: &'a ServiceBackends,
) -> impl Iterator<Item = IpAddr> + 'a {
    let own = service.checks_frontend.then_some(frontend.address);
    service.backends.iter().map(|(address, _)| *address).chain(own)
}
