//! Holds back a namespace if its new policies do not fit into the kernel's maps (S26).
//!
//! All namespaces share the maps of a node. When a write fails because a map is full, the guard picks
//! the namespace with the policies that grew most since everything was last in force. That namespace keeps
//! its last good policies; every other namespace gets what it requested.
//!
//! Example with a map of 16 entries, where `shop` and `tenant` have one entry each in force:
//!
//! ```text
//! requested    shop 2   tenant 100   the write fails: the map is full
//! roll_back    shop 1   tenant 1     `tenant` grew most; what was written of it is removed
//! hold_back    shop 2   tenant 1     fits; 100 is kept as the request of `tenant`
//! release      shop 2   tenant 100   after RETRY_INTERVAL, or when a policy of `tenant` changes
//! ```
//!
//! Where no policy grew, new pods need what is missing, such as one more allow map. They are closed, and
//! tried again after the same time; what is in force goes on changing.
//!
//! Before anything was in force there is no last good state, and the guard holds nothing back: the
//! caller reports the error and closes the pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use core::time::Duration;

use crate::{
    compile::{Change, Compiler},
    desired::Desired,
    model::{Direction, NetworkPolicy, ObjectName, Peer, Snapshot},
};

/// How long a namespace is held back before its request is tried again, unless its policies change.
pub const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// A version of each policy, by name; `None` for a policy that does not exist.
type PolicyVersions = BTreeMap<ObjectName, Option<NetworkPolicy>>;

/// Name and `metadata.uid` of a pod.
type PodInstance = (ObjectName, String);

/// A namespace that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Its name.
    pub namespace: String,
    /// Which map is full.
    pub reason: String,
}

/// A new pod that is closed because what it needs does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPod {
    /// The pod.
    pub pod: ObjectName,
    /// What is full.
    pub reason: String,
}

/// The policies that changed since everything was in force, and the namespaces held back.
#[derive(Debug, Default)]
pub struct CapacityGuard {
    /// The version in force of each policy that changed since; `None` before anything was in force.
    last_good: Option<PolicyVersions>,
    /// Pods that had their policies then.
    enforced_pods: BTreeSet<PodInstance>,
    held: BTreeMap<String, HeldNamespace>,
    /// Set while new pods are closed because what they need does not fit.
    closes_new_pods: Option<ClosedNewPods>,
}

/// Why and since when new pods are closed.
#[derive(Debug)]
struct ClosedNewPods {
    reason: String,
    since: Duration,
}

/// A namespace that is held back.
#[derive(Debug)]
struct HeldNamespace {
    /// What its policies are in the cluster.
    requested: PolicyVersions,
    /// Pods that are under its last good policies.
    enforced_pods: BTreeSet<PodInstance>,
    reason: String,
    /// When it was held back.
    since: Duration,
}

/// What [`CapacityGuard::roll_back`] took back.
#[derive(Debug)]
pub struct RolledBack {
    /// The namespace with the policies that grew most.
    pub namespace: String,
    requested: PolicyVersions,
}

impl CapacityGuard {
    /// Remembers the version in force of a policy that is about to change.
    pub fn record(&mut self, policy: &ObjectName, before: &Snapshot) {
        if let Some(last_good) = &mut self.last_good
            && !last_good.contains_key(policy)
        {
            last_good.insert(policy.clone(), before.policies.get(policy).cloned());
        }
    }

    /// Remembers the same of every policy that differs in a new snapshot. Nothing is held back any
    /// more: the snapshot holds what was requested.
    pub fn record_snapshot(&mut self, before: &Snapshot, after: &Snapshot) {
        self.held.clear();
        let names: BTreeSet<_> = before.policies.keys().chain(after.policies.keys()).collect();
        for name in names {
            if before.policies.get(name) != after.policies.get(name) {
                self.record(name, before);
            }
        }
    }

    /// Notes that the kernel holds `desired`, but for the pods in `not_enforced`.
    pub fn record_success(&mut self, desired: &Desired, not_enforced: &BTreeSet<&ObjectName>) {
        self.last_good = Some(PolicyVersions::new());
        let is_closed = |pod: &PodInstance| {
            let held = self.held.get(&pod.0.namespace);
            held.is_some_and(|held| !held.is_enforced(&pod.0, &pod.1))
                || self.closes_new_pods.is_some() && !self.enforced_pods.contains(pod)
        };
        let pods = desired.endpoints.iter().filter(|(name, _)| !not_enforced.contains(name));
        let pods = pods.map(|(name, endpoint)| (name.clone(), endpoint.uid.clone()));
        self.enforced_pods = pods.filter(|pod| !is_closed(pod)).collect();
    }

    /// Whether the policies of a pod were in force at the last success.
    #[must_use]
    pub fn was_enforced(&self, name: &ObjectName, uid: &str) -> bool {
        self.enforced_pods.contains(&(name.clone(), uid.to_owned()))
    }

    /// The namespaces that are held back, by name.
    #[must_use]
    pub fn held_back(&self) -> Vec<HeldBack> {
        let held = self.held.iter();
        held.map(|(namespace, held)| HeldBack {
            namespace: namespace.clone(),
            reason: held.reason.clone(),
        })
        .collect()
    }

    /// Gives a namespace what it requested, to be tried again.
    pub fn release(&mut self, namespace: &str, compiler: &mut Compiler) {
        let Some(held) = self.held.remove(namespace) else { return };
        self.request(held.requested, compiler);
    }

    /// Releases every namespace.
    pub fn release_all(&mut self, compiler: &mut Compiler) {
        for held in mem::take(&mut self.held).into_values() {
            self.request(held.requested, compiler);
        }
    }

    /// Releases the namespaces that were held back for [`RETRY_INTERVAL`].
    pub fn release_due(&mut self, now: Duration, compiler: &mut Compiler) {
        let is_due = |held: &HeldNamespace| now.saturating_sub(held.since) >= RETRY_INTERVAL;
        let due = self.held.iter().filter(|(_, held)| is_due(held));
        let due: Vec<String> = due.map(|(namespace, _)| namespace.clone()).collect();
        for namespace in due {
            self.release(&namespace, compiler);
        }
        let is_due =
            |closed: &mut ClosedNewPods| now.saturating_sub(closed.since) >= RETRY_INTERVAL;
        drop(self.closes_new_pods.take_if(is_due));
    }

    /// Closes the pods that were not in force at the last success. `false`, and nothing changes, where
    /// that was done already or nothing was ever in force.
    pub fn close_new_pods(&mut self, reason: String, now: Duration) -> bool {
        let is_new = self.last_good.is_some() && self.closes_new_pods.is_none();
        if is_new {
            self.closes_new_pods = Some(ClosedNewPods { reason, since: now });
        }
        is_new
    }

    /// The pods that are closed because what they need does not fit, and why.
    #[must_use]
    pub fn closed_pods(&self, desired: &Desired) -> Vec<ClosedPod> {
        let Some(ClosedNewPods { reason, .. }) = &self.closes_new_pods else { return Vec::new() };
        let pods = desired.endpoints.iter();
        let new = pods.filter(|(name, pod)| !self.was_enforced(name, &pod.uid));
        let isolated = new.filter(|(_, pod)| pod.isolation.values().any(Option::is_some));
        isolated.map(|(pod, _)| ClosedPod { pod: pod.clone(), reason: reason.clone() }).collect()
    }

    /// Returns to the policies that were in force last.
    ///
    /// `None`, and nothing changes, where no namespace asks for more than it had: holding one back
    /// would free no entry.
    #[must_use]
    pub fn roll_back(&mut self, compiler: &mut Compiler) -> Option<RolledBack> {
        let last_good = self.last_good.as_mut()?;
        let namespace = grown_most(last_good, compiler.snapshot())?.to_owned();
        let mut requested = PolicyVersions::new();
        for (name, version) in mem::take(last_good) {
            requested.insert(name.clone(), compiler.snapshot().policies.get(&name).cloned());
            compiler.update(Change::Policy(name, version));
        }
        Some(RolledBack { namespace, requested })
    }

    /// Requests again what was rolled back, except for the namespace that grew most.
    pub fn hold_back(
        &mut self,
        rolled_back: RolledBack,
        reason: String,
        now: Duration,
        compiler: &mut Compiler,
    ) {
        let RolledBack { namespace, requested } = rolled_back;
        let (requested, others): (PolicyVersions, PolicyVersions) =
            requested.into_iter().partition(|(name, _)| name.namespace == namespace);
        self.request(others, compiler);
        let enforced_pods = self.enforced_pods.clone();
        self.held.insert(namespace, HeldNamespace { requested, enforced_pods, reason, since: now });
    }

    /// Closes the new pods of held-back namespaces: those that a held-back policy would isolate, and
    /// that have no last good state to keep; and the new pods for which something does not fit. `None`
    /// where there are none.
    #[must_use]
    pub fn close_newcomers(&self, desired: &Desired, snapshot: &Snapshot) -> Option<Desired> {
        let mut closed: Option<Desired> = None;
        for (namespace, held) in &self.held {
            let first = ObjectName::new(namespace.as_str(), "");
            let pods = desired.endpoints.range(first..);
            for (name, endpoint) in pods.take_while(|(name, _)| name.namespace == *namespace) {
                let Some(pod) = snapshot.pods.get(name) else { continue };
                if held.is_enforced(name, &endpoint.uid) {
                    continue;
                }
                for direction in Direction::BOTH {
                    let mut requested = held.requested.values().flatten();
                    if requested.any(|it| it.applies(direction) && it.selects(&pod.labels)) {
                        let closed = closed.get_or_insert_with(|| desired.clone());
                        if let Some(endpoint) = closed.endpoints.get_mut(name) {
                            endpoint.close(direction);
                        }
                    }
                }
            }
        }
        for ClosedPod { pod, .. } in self.closed_pods(desired) {
            let closed = closed.get_or_insert_with(|| desired.clone());
            let Some(endpoint) = closed.endpoints.get_mut(&pod) else { continue };
            for direction in Direction::BOTH {
                if endpoint.isolation[direction].is_some() {
                    endpoint.close(direction);
                }
            }
        }
        closed
    }

    fn request(&mut self, versions: PolicyVersions, compiler: &mut Compiler) {
        for (name, version) in versions {
            self.record(&name, compiler.snapshot());
            compiler.update(Change::Policy(name, version));
        }
    }
}

impl HeldNamespace {
    fn is_enforced(&self, pod: &ObjectName, uid: &str) -> bool {
        self.enforced_pods.contains(&(pod.clone(), uid.to_owned()))
    }
}

/// The namespace with the policies that grew most since `last_good`; `None` where none grew.
fn grown_most<'a>(last_good: &'a PolicyVersions, requested: &Snapshot) -> Option<&'a str> {
    let mut sizes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (name, version) in last_good {
        let (new, old) = sizes.entry(&name.namespace).or_default();
        *new += requested.policies.get(name).map_or(0, size);
        *old += version.as_ref().map_or(0, size);
    }
    let growth = sizes.into_iter().map(|(name, (new, old))| (new.saturating_sub(old), name));
    growth.filter(|(growth, _)| *growth > 0).max().map(|(_, namespace)| namespace)
}

/// About how many map entries a policy takes: one for each rule, port, peer and exception.
fn size(policy: &NetworkPolicy) -> usize {
    let rules = policy.ingress.iter().chain(&policy.egress);
    rules
        .map(|rule| {
            let peers = rule.peers.iter().map(|peer| match peer {
                Peer::Block(block) => 1 + block.except.len(),
                Peer::Pods { .. } => 1,
            });
            1 + rule.ports.len() + peers.sum::<usize>()
        })
        .sum()
}

#[cfg(test)]
mod tests;
