//! What one plan put in force at the pods of a node.
//!
//! Input: the state of the kernel before the plan, its steps, and the compiled result. Output: for
//! each interface its pod, allow maps and policies, and the key of each identity, so that the numbers
//! of a drop record can be resolved after other plans have followed:
//!
//! ```text
//! plan 7, since 12.4 s    interface 11: shop/db, ingress allow map 3 of [shop/allow]
//!                         identity 2: addresses that match the peers of shop/allow rule 0
//! a drop at 12.9 s at interface 11 with allow map 3, identity 0, TCP 80
//!                         shop/allow isolates, and no rule of it matches identity 0
//! ```

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use policy_common::{allow::DEFAULT_IDENTITY, endpoint::Endpoint};

use crate::{
    compile::{AddressKey, CompiledPolicy, FrontendKey, IdentityKind},
    desired::{Desired, DesiredEndpoint, Identity, IdentityKey, Isolation},
    model::{ContainerPort, Direction, ObjectName, PerDirection, PolicyRef, Protocol, Snapshot},
    plan::{Actual, Step},
};

use super::{DirectedSubject, DirectionVerdict, FarEnd};

/// The pods of a node under one plan.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) number: u64,
    /// `CLOCK_MONOTONIC` before its first step.
    pub(super) since: Duration,
    /// Numbers of identities while it is in force; shared with the planner.
    identities: Arc<BTreeMap<u32, IdentityKey>>,
    policies: Arc<BTreeMap<PolicyRef, Arc<CompiledPolicy>>>,
    /// By interface.
    pods: BTreeMap<u32, EnforcedPod>,
}

#[derive(Debug, PartialEq, Eq)]
struct EnforcedPod {
    name: ObjectName,
    /// Where named ports of ingress rules resolve; empty where nothing isolates ingress.
    container_ports: Vec<ContainerPort>,
    isolation: PerDirection<Option<EnforcedIsolation>>,
}

#[derive(Debug, PartialEq, Eq)]
struct EnforcedIsolation {
    /// Number of its allow map.
    allow_map: u32,
    policies: Arc<[PolicyRef]>,
}

impl InForce {
    /// What a plan puts in force; shares with the plan before it what is the same.
    pub(super) fn new(
        number: u64,
        since: Duration,
        actual: &Actual,
        steps: &[Step],
        desired: &Desired,
        snapshot: &Snapshot,
        before: Option<&Self>,
    ) -> Self {
        let same = before.map(|before| &before.policies);
        let same = same.filter(|policies| ***policies == desired.policies).map(Arc::clone);
        // The kernel's endpoint has addresses and no name: the pod is found by one of them.
        let mut owners = BTreeMap::new();
        for (name, endpoint) in &desired.endpoints {
            owners.extend(endpoint.addresses.iter().map(|address| (*address, (name, endpoint))));
        }
        let pod = |endpoint: &Endpoint| {
            let addresses = [IpAddr::from(endpoint.address4), IpAddr::from(endpoint.address6)];
            let (name, desired) = addresses.iter().find_map(|address| owners.get(address))?;
            let before = before.and_then(|before| before.pods.get(&endpoint.ifindex));
            Some((endpoint.ifindex, EnforcedPod::new(name, desired, endpoint, snapshot, before)))
        };
        Self {
            number,
            since,
            identities: Arc::clone(actual.identity_keys()),
            policies: same.unwrap_or_else(|| Arc::new(desired.policies.clone())),
            pods: endpoints_after(actual, steps).values().filter_map(pod).collect(),
        }
    }

    /// Whether attribution by another plan gives the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pods == other.pods
            && self.policies == other.policies
            && self.identities == other.identities
    }

    /// The pod at an interface.
    pub(super) fn pod(&self, ifindex: u32) -> Option<&ObjectName> {
        self.pods.get(&ifindex).map(|pod| &pod.name)
    }

    /// Policies that isolate the pod at an interface.
    pub(super) fn isolating(&self, ifindex: u32, direction: Direction) -> &[PolicyRef] {
        self.isolated(ifindex, direction).map(|isolated| &*isolated.policies).unwrap_or_default()
    }

    /// Number of the allow map of the endpoint at an interface.
    pub(super) fn allow_map(&self, ifindex: u32, direction: Direction) -> Option<u32> {
        self.isolated(ifindex, direction).map(|isolated| isolated.allow_map)
    }

    /// The verdict on the first packet of a connection that the kernel denied; `None` where the
    /// identity or the pod is not of this plan.
    pub(super) fn decide(
        &self,
        ifindex: u32,
        direction: Direction,
        identity: u32,
        port: Option<(Protocol, u16)>,
    ) -> Option<DirectionVerdict> {
        let pod = self.pods.get(&ifindex)?;
        let isolated = pod.isolation.get(direction).as_ref()?;
        let find = |name| self.policies.get(name).map(|policy| (name, &**policy));
        let subject = DirectedSubject {
            direction,
            container_ports: &pod.container_ports,
            policies: isolated.policies.iter().filter_map(find).collect(),
        };
        let decide = |key: Option<&IdentityKey>, port| {
            let key = address_key(key)?;
            Some(subject.decide(&FarEnd { address: None, key, port }))
        };
        let key = match identity {
            DEFAULT_IDENTITY => None,
            number => Some(self.identities.get(&number)?),
        };
        let Some(IdentityKind::Frontends(frontend)) = key.map(|key| &key.0) else {
            return decide(key, port);
        };
        // The programs have one outcome for the whole frontend. It is a refusal as soon as one backend is
        // refused, so every backend is asked, and those who deny are named together.
        let places = backends(frontend).into_iter();
        let decisions = places.filter_map(|(identity, port)| decide(identity.as_ref(), Some(port)));
        let decisions: Vec<_> = decisions.collect();
        let allowed = !decisions.is_empty() && decisions.iter().all(|decision| decision.allowed);
        Some(DirectionVerdict::join(allowed, decisions, &*isolated.policies))
    }

    fn isolated(&self, ifindex: u32, direction: Direction) -> Option<&EnforcedIsolation> {
        self.pods.get(&ifindex)?.isolation.get(direction).as_ref()
    }
}

impl EnforcedPod {
    fn new(
        name: &ObjectName,
        desired: &DesiredEndpoint,
        endpoint: &Endpoint,
        snapshot: &Snapshot,
        before: Option<&Self>,
    ) -> Self {
        let numbers = PerDirection { ingress: endpoint.ingress, egress: endpoint.egress };
        let isolated = |direction| {
            let Isolation { policies, .. } = desired.isolation.get(direction).as_ref()?;
            let same = before.and_then(|before| before.isolation.get(direction).as_ref());
            // Plans follow one another within seconds, and up to eight are remembered: equal lists are kept
            // once.
            let same = same.filter(|same| *same.policies == **policies);
            let policies =
                same.map_or_else(|| policies.as_slice().into(), |same| Arc::clone(&same.policies));
            Some(EnforcedIsolation { allow_map: *numbers.get(direction), policies })
        };
        let ports = snapshot.pods.get(name).filter(|_| desired.isolation.ingress.is_some());
        Self {
            name: name.clone(),
            container_ports: ports.map(|pod| pod.ports.clone()).unwrap_or_default(),
            isolation: PerDirection::from_fn(isolated),
        }
    }
}

/// The endpoints once a plan is carried out.
fn endpoints_after(actual: &Actual, steps: &[Step]) -> BTreeMap<u32, Endpoint> {
    let mut endpoints = actual.endpoints().clone();
    for step in steps {
        if let Step::PutEndpoint(endpoint) | Step::ReplaceEndpoint { endpoint, .. } = step {
            endpoints.insert(endpoint.ifindex, *endpoint);
        } else if let Step::DeleteEndpoint { ifindex, .. } = step {
            endpoints.remove(ifindex);
        }
    }
    endpoints
}

/// What policies see of an address; `None` for a frontend.
fn address_key(key: Option<&IdentityKey>) -> Option<Cow<'_, AddressKey>> {
    match key.map(|key| &key.0) {
        None => Some(Cow::Owned(AddressKey::default())),
        Some(IdentityKind::Addresses(key)) => Some(Cow::Borrowed(key)),
        Some(IdentityKind::Frontends(_)) => None,
    }
}

/// The places that must all be allowed for a frontend to be: none where no backend is ready.
fn backends(key: &FrontendKey) -> Vec<(&Identity, (Protocol, u16))> {
    match key {
        FrontendKey::NoBackend => Vec::new(),
        FrontendKey::Backends { protocol, backends, frontend, .. } => {
            // The frontend's own address counts as one more place where policy must allow it too (S40).
            let places = backends.iter().chain(frontend);
            places.map(|(identity, port)| (identity, (*protocol, *port))).collect()
        }
    }
}
