//! Kubernetes Events: what is not enforced as it was asked for, told at the object that asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use policy_core::{desired::Desired, fault::Fault, model::ObjectName};
use tokio::{sync::mpsc::Sender, time::Instant};

use crate::{
    node::{HeldBack, Node, NotAttached, Reconciled},
    source::kubernetes::{Announcement, Client, announce},
};

/// How long a pod may be without an interface before that is worth an Event.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells each thing once, for as long as it is so.
#[derive(Debug)]
pub(super) struct Announcer {
    queue: Option<Sender<Announcement>>,
    told: BTreeSet<Announcement>,
    /// Pods without an interface, and since when.
    lonely: BTreeMap<ObjectName, Instant>,
}

impl Announcer {
    /// Tells the API server of a client; without one, nobody.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn new(client: Option<&Client>, node: &str) -> Self {
        let queue = client.map(|client| announce(client, node));
        Self { queue, told: BTreeSet::new(), lonely: BTreeMap::new() }
    }

    /// Tells what is not as it was asked for.
    pub(super) fn announce(&mut self, node: &Node, reconciled: &Reconciled) {
        let Some(queue) = &self.queue else { return };
        let desired = node.desired();
        let now = Instant::now();
        // A pod that has no address yet has no network that something could be enforced at.
        let has_address = |pod: &&ObjectName| {
            desired.endpoints.get(*pod).is_some_and(|endpoint| !endpoint.addresses.is_empty())
        };
        let missing: Vec<_> =
            reconciled.pods_without_interface.iter().filter(has_address).collect();
        self.lonely.retain(|pod, _| missing.contains(&pod));
        let mut current = of_faults(&reconciled.faults, desired);
        for pod in missing {
            let since = *self.lonely.entry(pod.clone()).or_insert(now);
            if now - since >= PATIENCE {
                current.insert(Announcement {
                    api_version: "v1",
                    kind: "Pod",
                    object: pod.clone(),
                    uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
                    reason: "NotEnforced",
                    note: format!(
                        "no interface of node {} leads to the pod: no policy is enforced at it",
                        node.name()
                    ),
                });
            }
        }
        for NotAttached { pod, reason } in &reconciled.not_attached {
            current.insert(Announcement {
                api_version: "v1",
                kind: "Pod",
                object: pod.clone(),
                uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
                reason: "NotEnforced",
                note: format!("no policy is enforced at it on node {}: {reason}", node.name()),
            });
        }
        for HeldBack { namespace, reason } in &reconciled.held_back {
            current.insert(Announcement {
                api_version: "v1",
                kind: "Namespace",
                object: ObjectName::new("", namespace.as_str()),
                uid: None,
                reason: "NoRoom",
                note: format!(
                    "changes of the namespace's policies find no room on node {}, \
                     those of before stay in force: {reason}",
                    node.name()
                ),
            });
        }
        self.told.retain(|announcement| current.contains(announcement));
        for announcement in current {
            if !self.told.contains(&announcement) && queue.try_send(announcement.clone()).is_ok() {
                self.told.insert(announcement);
            }
        }
    }
}

/// One for each policy that has faults and isolates a pod of this node: else every node would tell.
fn of_faults(faults: &[Fault], desired: &Desired) -> BTreeSet<Announcement> {
    let endpoints = desired.endpoints.values();
    let isolations = endpoints.flat_map(|endpoint| endpoint.ingress.iter().chain(&endpoint.egress));
    let in_force: BTreeSet<&ObjectName> =
        isolations.flat_map(|isolation| &isolation.policies).collect();
    let mut notes: BTreeMap<(&str, &ObjectName), Vec<String>> = BTreeMap::new();
    for Fault { kind, object, field, reason, action } in faults {
        if in_force.contains(object) {
            let parts = notes.entry((*kind, object)).or_default();
            parts.push(format!("{field}: {reason}: {action}"));
        }
    }
    notes
        .into_iter()
        .filter_map(|((kind, object), parts)| {
            let (api_version, kind) = match kind {
                "NetworkPolicy" => ("networking.k8s.io/v1", "NetworkPolicy"),
                "ClusterNetworkPolicy" => {
                    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy")
                }
                _ => return None,
            };
            let (object, uid, reason) = (object.clone(), None, "NotExpressible");
            let note = parts.join("; ");
            Some(Announcement { api_version, kind, object, uid, reason, note })
        })
        .collect()
}
