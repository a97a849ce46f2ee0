//! Pods that left the API before anything was enforced at them, and that the node still runs (S47).
//!
//! A pod can be deleted while the runtime creates its sandbox; its containers then run for a while
//! without an object. Such a pod stays in the compiler's snapshot under a name of its own, with the
//! labels of its last object, for as long as an interface leads to it:
//!
//! ```text
//! API          shop/web (u1) is deleted         remembered with its labels; it has no address yet
//! cache        shop/web (u1) has 10.0.0.2       remembered with 10.0.0.2
//! discovery    interface 7 has 10.0.0.2         shop/"web (deleted, interface 7)" is judged as a pod
//! discovery    interface 7 is gone              that pod is gone too
//! ```
//!
//! Where the runtime names a pod that the API never reported, its labels are unknown. It is closed in
//! each direction in which some policy isolates pods of its namespace.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_common::endpoint::Endpoint;

use crate::{
    compile::Change,
    desired::Desired,
    model::{Direction, ObjectName, Pod, Snapshot},
    owner::Owners,
    plan::{Interface, Interfaces},
};

use super::{Sandbox, hints::share};

/// How long the last object of a pod is remembered while no interface leads to the pod.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Pods without an object.
#[derive(Debug, Default)]
pub(super) struct DepartedPods {
    /// The last objects of deleted pods, by name and `metadata.uid`.
    last: BTreeMap<(ObjectName, String), LastObject>,
    /// All sandboxes of the runtime's cache, the newest last.
    sandboxes: Vec<Sandbox>,
    /// The pods in the compiler's snapshot, by interface.
    in_force: BTreeMap<u32, Departed>,
}

/// The last object of a deleted pod.
#[derive(Debug)]
struct LastObject {
    pod: Pod,
    deleted: Duration,
}

/// A pod in the compiler's snapshot.
#[derive(Debug)]
struct Departed {
    /// Its name there.
    name: ObjectName,
    pod: Pod,
    /// Whether the API never reported it, so that its labels are unknown.
    is_unseen: bool,
}

impl DepartedPods {
    /// Remembers a pod that was deleted.
    pub(super) fn record(&mut self, name: &ObjectName, pod: Pod, now: Duration) {
        let key = (name.clone(), pod.uid.clone());
        self.last.insert(key, LastObject { pod, deleted: now });
        self.complete();
    }

    /// Replaces what the runtime's cache says, the newest last.
    pub(super) fn replace_sandboxes(&mut self, sandboxes: Vec<Sandbox>) {
        self.sandboxes = sandboxes;
        self.complete();
    }

    /// Addresses by which interfaces of these pods can be found.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let last = self.last.values().flat_map(|last| &last.pod.addresses);
        let cached = self.sandboxes.iter().flat_map(|sandbox| &sandbox.addresses);
        let in_force = self.in_force.values().flat_map(|departed| &departed.pod.addresses);
        last.chain(cached).chain(in_force).copied()
    }

    /// Whether a pod of the compiler's snapshot is one of these.
    pub(super) fn has(&self, name: &ObjectName) -> bool {
        self.in_force.values().any(|departed| departed.name == *name)
    }

    /// Whether one of these is at an interface.
    pub(super) fn is_at(&self, ifindex: u32) -> bool {
        self.in_force.contains_key(&ifindex)
    }

    /// The pods in force, which a new snapshot must have too.
    pub(super) fn pods(&self) -> impl Iterator<Item = (ObjectName, Pod)> {
        self.in_force.values().map(|departed| (departed.name.clone(), departed.pod.clone()))
    }

    /// Matches interfaces with pods; returns the changes of the compiler's snapshot.
    ///
    /// An interface with an endpoint is left alone, because its pod was enforced, and so is one with an
    /// address of a pod that has an object.
    pub(super) fn update(
        &mut self,
        node: &str,
        (snapshot, owners): (&Snapshot, &Owners),
        interfaces: &Interfaces,
        endpoints: &BTreeMap<u32, Endpoint>,
        now: Duration,
    ) -> Vec<Change> {
        self.last.retain(|_, last| now.saturating_sub(last.deleted) < REMEMBERED);
        let departed: BTreeSet<_> = self.in_force.values().map(|it| it.name.clone()).collect();
        let is_live = |interface: &Interface| {
            let mut pods = interface.addresses.iter().flat_map(|at| owners.all_of(*at));
            pods.any(|name| !departed.contains(name))
        };
        let ended = self.in_force.extract_if(.., |ifindex, departed| {
            let interface = interfaces.get(ifindex);
            interface.is_none_or(|it| is_live(it) || !share(&it.addresses, &departed.pod.addresses))
        });
        let mut changes: Vec<_> =
            ended.map(|(_, departed)| Change::Pod(departed.name, None)).collect();
        for interface in interfaces.values() {
            let is_known = self.in_force.contains_key(&interface.ifindex)
                || endpoints.contains_key(&interface.ifindex);
            if is_known || is_live(interface) {
                continue;
            }
            if let Some(departed) = self.find(node, snapshot, interface) {
                changes.push(Change::Pod(departed.name.clone(), Some(departed.pod.clone())));
                self.in_force.insert(interface.ifindex, departed);
            }
        }
        changes
    }

    /// Closes pods with unknown labels; `None` where there are none.
    pub(super) fn close_unseen(&self, desired: &Desired, snapshot: &Snapshot) -> Option<Desired> {
        let mut closed: Option<Desired> = None;
        for departed in self.in_force.values().filter(|departed| departed.is_unseen) {
            for direction in Direction::BOTH {
                if isolates_any(snapshot, &departed.name.namespace, direction) {
                    let closed = closed.get_or_insert_with(|| desired.clone());
                    if let Some(endpoint) = closed.endpoints.get_mut(&departed.name) {
                        endpoint.close(direction);
                    }
                }
            }
        }
        closed
    }

    /// Gives addresses of the cache to pods that have none in their last object.
    fn complete(&mut self) {
        for sandbox in &self.sandboxes {
            let is_its = |(name, uid): &(ObjectName, String)| is_of(sandbox, name, uid);
            for (_, last) in self.last.iter_mut().filter(|(key, _)| is_its(key)) {
                if last.pod.addresses.is_empty() {
                    last.pod.addresses.clone_from(&sandbox.addresses);
                }
            }
        }
    }

    /// The pod that an interface leads to, by the newest sandbox with its address, or else by the
    /// newest last object with it.
    fn find(&self, node: &str, snapshot: &Snapshot, interface: &Interface) -> Option<Departed> {
        let has = |addresses: &[IpAddr]| share(addresses, &interface.addresses);
        let sandbox = self.sandboxes.iter().rev().find(|sandbox| has(&sandbox.addresses));
        let of_sandbox =
            |name: &ObjectName, uid: &str| sandbox.is_none_or(|sandbox| is_of(sandbox, name, uid));
        let last = self
            .last
            .iter()
            .filter(|((name, uid), last)| has(&last.pod.addresses) && of_sandbox(name, uid))
            .max_by_key(|(_, last)| last.deleted);
        if let Some(((name, _), last)) = last {
            return Some(Departed::new(name, last.pod.clone(), interface.ifindex, false));
        }
        let sandbox = sandbox?;
        let Sandbox { pod: name, uid, addresses, .. } = sandbox;
        // A pod with an object has its addresses from its status or from the cache.
        let object = snapshot.pods.get(name);
        if object.is_some_and(|pod| is_of(sandbox, name, &pod.uid)) {
            return None;
        }
        let (uid, addresses) = (uid.clone().unwrap_or_default(), addresses.clone());
        let pod = Pod { uid, addresses, node: Some(node.to_owned()), ..Pod::default() };
        Some(Departed::new(name, pod, interface.ifindex, true))
    }
}

impl Departed {
    fn new(name: &ObjectName, pod: Pod, ifindex: u32, is_unseen: bool) -> Self {
        let title = format!("{} (deleted, interface {ifindex})", name.name);
        let pod = Pod { deleted: Some(name.name.clone()), ..pod };
        Self { name: ObjectName::new(&name.namespace, title), pod, is_unseen }
    }
}

/// Whether a sandbox is that of a pod.
fn is_of(sandbox: &Sandbox, name: &ObjectName, uid: &str) -> bool {
    sandbox.pod == *name && sandbox.may_have_uid(uid)
}

/// Whether some policy can isolate pods of a namespace in a direction.
fn isolates_any(snapshot: &Snapshot, namespace: &str, direction: Direction) -> bool {
    let labels = snapshot.namespace_labels(namespace);
    let mut tiers = snapshot.cluster_policies.values();
    snapshot.policies_of(namespace).any(|(_, policy)| policy.applies(direction))
        || tiers.any(|policy| {
            let subject = policy.subject.as_ref();
            !policy.rules(direction).is_empty()
                && subject.is_none_or(|subject| subject.namespaces.matches(&labels))
        })
}
