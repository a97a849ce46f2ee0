//! Kubernetes Events: what is not enforced as it was asked for, told at the object that asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use policy_core::{
    desired::Desired,
    fault::Fault,
    model::{ObjectName, PolicyRef},
};
use tokio::{sync::watch::Sender, time::Instant};

use crate::{
    node::{HeldBack, Node, NotAttached, Reconciled},
    source::kubernetes::{Announcement, Announcements, Client, Kind, announce},
};

/// How long nothing may be enforced at a pod before that is worth an Event: an interface comes
/// after its pod is known, and goes before it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says what is to be told, for as long as it is so.
#[derive(Debug)]
pub(super) struct Announcer {
    current: Option<Sender<Announcements>>,
    /// Pods at which nothing is enforced, and since when.
    open: BTreeMap<ObjectName, Instant>,
}

impl Announcer {
    /// Tells the API server of a client; without one, nobody.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn new(client: Option<&Client>, node: &str) -> Self {
        let current = client.map(|client| announce(client, node));
        Self { current, open: BTreeMap::new() }
    }

    /// Tells what is not as it was asked for.
    pub(super) fn announce(&mut self, node: &Node, reconciled: &Reconciled) {
        let Some(current) = &self.current else { return };
        let desired = node.desired();
        let mut all = of_faults(&reconciled.faults, desired);
        let without_interface = without_interface(reconciled, desired);
        let refused = reconciled.not_attached.iter().map(|refused| of_refused(refused, desired));
        let of_pods = without_interface.into_iter().chain(refused).collect();
        all.extend(for_long(&mut self.open, of_pods, Instant::now()));
        all.extend(reconciled.held_back.iter().map(of_room));
        let next = Announcements { nodes: node.snapshot().nodes.len(), all };
        current.send_if_modified(|before| {
            let is_new = *before != next;
            *before = next;
            is_new
        });
    }
}

/// Of pods of which the same could be said for some time.
fn for_long(
    open: &mut BTreeMap<ObjectName, Instant>,
    mut of_pods: Vec<Announcement>,
    now: Instant,
) -> Vec<Announcement> {
    let pods: BTreeSet<_> = of_pods.iter().map(|announcement| &announcement.object).collect();
    open.retain(|pod, _| pods.contains(pod));
    of_pods.retain(|announcement| {
        let since = *open.entry(announcement.object.clone()).or_insert(now);
        now - since >= PATIENCE
    });
    of_pods
}

/// Of pods that have an address, and no interface: one that has no address yet has no network that
/// something could be enforced at.
fn without_interface(reconciled: &Reconciled, desired: &Desired) -> Vec<Announcement> {
    let missing = reconciled
        .pods_without_interface
        .iter()
        .filter_map(|pod| Some((pod, desired.endpoints.get(pod)?)))
        .filter(|(_, endpoint)| !endpoint.addresses.is_empty());
    missing
        .map(|(pod, endpoint)| Announcement {
            about: Kind::Pod,
            object: pod.clone(),
            uid: Some(endpoint.uid.clone()),
            reason: "NotEnforced",
            note: "no interface of the node leads to the pod: no policy is enforced at it"
                .to_owned(),
        })
        .collect()
}

fn of_refused(NotAttached { pod, reason }: &NotAttached, desired: &Desired) -> Announcement {
    Announcement {
        about: Kind::Pod,
        object: pod.clone(),
        uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
        reason: "NotEnforced",
        note: format!("no policy is enforced at it: {reason}"),
    }
}

fn of_room(HeldBack { namespace, reason }: &HeldBack) -> Announcement {
    Announcement {
        about: Kind::Namespace,
        object: ObjectName::new("", namespace.as_str()),
        uid: None,
        reason: "NoRoom",
        note: format!(
            "changes of the namespace's policies find no room on a node, those of before stay in \
             force there: {reason}"
        ),
    }
}

/// One for each policy that has faults and isolates a pod of this node: else every node would tell.
fn of_faults(faults: &[Fault], desired: &Desired) -> BTreeSet<Announcement> {
    let endpoints = desired.endpoints.values();
    let isolations = endpoints.flat_map(|endpoint| endpoint.isolation.values().flatten());
    let in_force: BTreeSet<&PolicyRef> =
        isolations.flat_map(|isolation| &isolation.policies).collect();
    let mut notes: BTreeMap<PolicyRef, Vec<String>> = BTreeMap::new();
    for Fault { object, field, problem, effect } in faults {
        if let Some(policy) = object.policy()
            && in_force.contains(&policy)
        {
            let parts = notes.entry(policy).or_default();
            parts.push(format!("{field}: {problem}: {effect}"));
        }
    }
    notes
        .into_iter()
        .map(|(policy, parts)| {
            let (about, object) = match policy {
                PolicyRef::Namespaced(name) => (Kind::Policy, name),
                PolicyRef::ClusterWide(name) => (Kind::ClusterPolicy, ObjectName::new("", name)),
            };
            let reason = "NotExpressible";
            Announcement { about, object, uid: None, reason, note: parts.join("; ") }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_of_once_nothing_is_enforced_at_it_for_some_time() {
        let pod = ObjectName::new("default", "pod");
        let refused = |reason: &str| {
            let refused = NotAttached { pod: pod.clone(), reason: reason.to_owned() };
            vec![of_refused(&refused, &Desired::default())]
        };
        let (mut open, now) = (BTreeMap::new(), Instant::now());
        let mut told =
            |of_pods: Vec<_>, seconds| for_long(&mut open, of_pods, now + seconds * PATIENCE / 10);
        assert_eq!(told(refused("no such device"), 0), []);
        assert_eq!(told(refused("no such device"), 9), []);
        assert_eq!(told(refused("another"), 10), refused("another"), "for whatever reason");
        assert_eq!(told(Vec::new(), 11), []);
        assert_eq!(told(refused("no such device"), 12), [], "it was well meanwhile");
    }
}
