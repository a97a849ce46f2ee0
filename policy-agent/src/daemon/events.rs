//! Which warnings the agent writes as Kubernetes Events.
//!
//! Input: the result of each reconciliation and each dropped packet. Output: the warnings that hold
//! now, which `policy-kube` writes:
//!
//! | Reason | About | Says |
//! |---|---|---|
//! | `NotExpressible` | a policy | a part cannot be enforced as it is written |
//! | `UnresolvedPort` | a policy | no pod has the port that it names |
//! | `KindRemoved` | the namespace `default` | the API server no longer has a kind of policies |
//! | `EnforcementOff` | a node | somebody has switched enforcement off |
//! | `NotEnforced` | a pod | no policy is enforced at it for ten seconds |
//! | `NoRoom` | a namespace | a change of its policies, or its Services, do not fit into the maps |
//! | `NoRoom` | a pod | it is new, and what it needs does not fit: it is closed |
//! | `InterfaceConflict` | a pod | another interface has its address: that one is closed |
//! | `SharedFlowTables` | a pod | there is no memory for flow tables of its own |
//! | `PolicyDenied` | a pod | policies deny connections from or to it ([`ActiveDenials`]) |

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use policy_core::{
    desired::Desired,
    fault::Fault,
    intent::OffCause,
    lint::Finding,
    model::{Kind, ObjectName, ObjectRef},
};
use policy_kube::{ActiveWarnings, Client, Resource, Warning, write_events};
use tokio::{sync::watch::Sender, time::Instant};

use super::report;
use crate::{
    flows::{ActiveDenials, DenialWarning, DroppedPacket},
    node::{
        ClosedPod, HeldBack, InterfaceConflict, LeftOutServices, Node, NotAttached, Reconciled,
    },
};

/// How long nothing may be enforced at a pod before there is an Event: while a pod starts or ends,
/// its interface and its object are not there at the same time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the Events of the API server in step with the node.
#[derive(Debug)]
pub(super) struct EventWriter {
    active: Option<Sender<ActiveWarnings>>,
    /// Pods at which nothing is enforced, and since when.
    open: BTreeMap<ObjectName, Instant>,
    /// The warnings of the last reconciliation.
    reconciled: ActiveWarnings,
    denials: ActiveDenials,
    /// Resources that the API server no longer has.
    disappeared: BTreeSet<Resource>,
}

impl EventWriter {
    /// Writes to the API server of a client; without one, nothing.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn new(client: Option<&Client>, node: &str) -> Self {
        let active = client.map(|client| write_events(client, node));
        Self {
            active,
            open: BTreeMap::new(),
            reconciled: ActiveWarnings::default(),
            denials: ActiveDenials::default(),
            disappeared: BTreeSet::new(),
        }
    }

    /// A resource was listed: the API server has it, or never had it.
    pub(super) fn listed(&mut self, resource: Resource) {
        self.disappeared.remove(&resource);
    }

    /// The API server no longer has a resource.
    pub(super) fn disappeared(&mut self, resource: Resource) {
        self.disappeared.insert(resource);
    }

    /// Replaces the active warnings after a reconciliation; `unresolved` are named ports that allow
    /// nothing.
    pub(super) fn update(&mut self, node: &Node, reconciled: &Reconciled, unresolved: &[Finding]) {
        if self.active.is_none() {
            return;
        }
        let now = Instant::now();
        let desired = node.desired();
        let mut warnings = of_faults(&reconciled.faults, desired);
        warnings.extend(node.off_cause().map(|cause| of_off(cause, node.name())));
        warnings.extend(of_unresolved(unresolved));
        warnings.extend(self.disappeared.iter().copied().map(of_disappeared));
        let without_interface = without_interface(reconciled, desired);
        // A pod that left the API has no object that an Event could be about.
        let has_object = |pod: &ObjectName| {
            let pod = node.snapshot().pods.get(pod);
            pod.is_some_and(|pod| pod.deleted.is_none())
        };
        let refused = reconciled.not_attached.iter().filter(|refused| has_object(&refused.pod));
        let refused = refused.map(|refused| of_refused(refused, desired));
        let bypassed = node.bypassed().filter(|(pod, _)| has_object(pod)).map(|(pod, bypass)| {
            not_enforced(pod, format!("enforcement is bypassed: {bypass}"), desired)
        });
        let of_pods = without_interface.into_iter().chain(refused).chain(bypassed).collect();
        warnings.extend(for_long(&mut self.open, of_pods, now));
        warnings.extend(reconciled.held_back.iter().map(of_held_back));
        warnings.extend(reconciled.left_out_services.iter().map(of_left_out));
        let closed = reconciled.closed_pods.iter().filter(|closed| has_object(&closed.pod));
        warnings.extend(closed.map(|closed| of_closed(closed, desired)));
        let conflicts = reconciled.conflicts.iter().filter(|conflict| has_object(&conflict.pod));
        warnings.extend(conflicts.map(|conflict| of_conflict(conflict, desired)));
        let sharing = node.sharing_flow_tables().filter(|(pod, _)| has_object(pod));
        warnings.extend(sharing.map(|(pod, reason)| of_sharing(pod, reason, desired)));
        self.reconciled = ActiveWarnings { nodes: node.snapshot().nodes.len(), warnings };
        self.denials.expire(now.into_std());
        self.write();
    }

    /// Takes a dropped packet.
    pub(super) fn dropped(&mut self, packet: &DroppedPacket<'_>) {
        if self.active.is_some() && self.denials.add(packet, Instant::now().into_std()) {
            self.write();
        }
    }

    fn write(&self) {
        let Some(active) = &self.active else { return };
        let mut next = self.reconciled.clone();
        next.warnings.extend(self.denials.iter().map(of_denied));
        active.send_if_modified(|before| {
            let is_new = *before != next;
            *before = next;
            is_new
        });
    }
}

/// The warnings about pods that had a warning of any text for [`PATIENCE`].
fn for_long(
    open: &mut BTreeMap<ObjectName, Instant>,
    of_pods: Vec<(ObjectName, Warning)>,
    now: Instant,
) -> Vec<Warning> {
    let pods: BTreeSet<_> = of_pods.iter().map(|(pod, _)| pod).collect();
    open.retain(|pod, _| pods.contains(pod));
    let long = of_pods.into_iter().filter_map(|(pod, warning)| {
        let since = *open.entry(pod).or_insert(now);
        (now - since >= PATIENCE).then_some(warning)
    });
    long.collect()
}

/// Of pods that have an address and no interface. A pod without an address has no network yet.
fn without_interface(reconciled: &Reconciled, desired: &Desired) -> Vec<(ObjectName, Warning)> {
    let missing = reconciled.pods_without_interface.iter().filter(|pod| {
        desired.endpoints.get(pod).is_some_and(|endpoint| !endpoint.addresses.is_empty())
    });
    let note = "no policy is enforced at the pod: no interface of the node leads to it; check that the \
                node's CNI gives pods a veth";
    missing.map(|pod| not_enforced(pod, note.to_owned(), desired)).collect()
}

fn of_refused(
    NotAttached { pod, reason }: &NotAttached,
    desired: &Desired,
) -> (ObjectName, Warning) {
    let note = format!(
        "no policy is enforced at the pod: {reason}; remove that cause, or move the pod to another node"
    );
    not_enforced(pod, note, desired)
}

fn not_enforced(pod: &ObjectName, note: String, desired: &Desired) -> (ObjectName, Warning) {
    let warning = Warning {
        about: ObjectRef::namespaced(Kind::Pod, pod),
        uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
        reason: "NotEnforced",
        note,
    };
    (pod.clone(), warning)
}

fn of_sharing(pod: &ObjectName, reason: &str, desired: &Desired) -> Warning {
    Warning {
        about: ObjectRef::namespaced(Kind::Pod, pod),
        uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
        reason: "SharedFlowTables",
        note: format!(
            "the pod shares the flow tables `flows4`, `flows6`, `new_flows4` and `new_flows6` with \
             other pods, which may evict its connections: {reason}"
        ),
    }
}

fn of_denied(DenialWarning { pod, uid, note }: &DenialWarning) -> Warning {
    Warning {
        about: ObjectRef::namespaced(Kind::Pod, pod),
        uid: Some(uid.clone()).filter(|uid| !uid.is_empty()),
        reason: "PolicyDenied",
        note: note.clone(),
    }
}

fn of_held_back(HeldBack { namespace, reason }: &HeldBack) -> Warning {
    Warning {
        about: ObjectRef::cluster_wide(Kind::Namespace, namespace.as_str()),
        uid: None,
        // A contract with scripts that read Events: the name stays.
        reason: "NoRoom",
        note: format!(
            "a change of the namespace's policies does not fit into the maps of a node, which \
             enforces the previous policies: {reason}"
        ),
    }
}

fn of_closed(ClosedPod { pod, reason }: &ClosedPod, desired: &Desired) -> Warning {
    Warning {
        about: ObjectRef::namespaced(Kind::Pod, pod),
        uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
        reason: "NoRoom",
        note: format!(
            "nothing passes to or from the pod, because it is new and what it needs does not fit: \
             {reason}; move pods to other nodes, or raise the option of that map"
        ),
    }
}

fn of_conflict(
    InterfaceConflict { interface, pod }: &InterfaceConflict,
    desired: &Desired,
) -> Warning {
    Warning {
        about: ObjectRef::namespaced(Kind::Pod, pod),
        uid: desired.endpoints.get(pod).map(|endpoint| endpoint.uid.clone()),
        reason: "InterfaceConflict",
        note: format!(
            "interface {interface} has an address of the pod, but is not known to be the pod's: \
             nothing passes there; find out which pod the interface leads to"
        ),
    }
}

fn of_left_out(LeftOutServices { namespace, services, .. }: &LeftOutServices) -> Warning {
    Warning {
        about: ObjectRef::cluster_wide(Kind::Namespace, namespace.as_str()),
        uid: None,
        reason: "NoRoom",
        note: format!(
            "{services} Services of the namespace do not fit into the map `frontends` of a node: \
             egress of isolated pods to their addresses is denied; use fewer ports and addresses, or \
             raise --max-frontends"
        ),
    }
}

/// One for each policy that has faults and isolates a pod of this node. Other policies are left to
/// the nodes of their pods.
fn of_faults(faults: &[Fault], desired: &Desired) -> BTreeSet<Warning> {
    let mut notes: BTreeMap<&ObjectRef, Vec<String>> = BTreeMap::new();
    for Fault { object, field, problem, effect } in faults {
        if object.policy().is_some_and(|policy| desired.policies.contains_key(&policy)) {
            notes.entry(object).or_default().push(format!("{field}: {problem}: {effect}"));
        }
    }
    of_policies("NotExpressible", notes)
}

/// One for each policy that names ports which no pod has.
fn of_unresolved(unresolved: &[Finding]) -> BTreeSet<Warning> {
    let mut notes: BTreeMap<&ObjectRef, Vec<String>> = BTreeMap::new();
    for Finding { object, field, message, suggestion, .. } in unresolved {
        let note = format!("{field}: {message}, so it allows nothing; {suggestion}");
        notes.entry(object).or_default().push(note);
    }
    of_policies("UnresolvedPort", notes)
}

fn of_policies(
    reason: &'static str,
    notes: BTreeMap<&ObjectRef, Vec<String>>,
) -> BTreeSet<Warning> {
    let warning = |(object, parts): (&ObjectRef, Vec<String>)| Warning {
        about: object.clone(),
        uid: None,
        reason,
        note: parts.join("; "),
    };
    notes.into_iter().map(warning).collect()
}

fn of_off(cause: OffCause, node: &str) -> Warning {
    Warning {
        about: ObjectRef::cluster_wide(Kind::Node, node),
        uid: None,
        reason: "EnforcementOff",
        note: format!("enforcement is off, and every packet of the node's pods passes: {cause}"),
    }
}

/// About a namespace that every cluster has, because the definition that was deleted has no Events.
fn of_disappeared(resource: Resource) -> Warning {
    Warning {
        about: ObjectRef::cluster_wide(Kind::Namespace, "default"),
        uid: None,
        reason: "KindRemoved",
        note: report::disappeared(resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_a_warning_once_nothing_is_enforced_at_it_for_some_time() {
        let pod = ObjectName::new("default", "pod");
        let refused = |reason: &str| {
            let refused = NotAttached { pod: pod.clone(), reason: reason.to_owned() };
            vec![of_refused(&refused, &Desired::default())]
        };
        let (mut open, start) = (BTreeMap::new(), Instant::now());
        let mut after =
            |seconds, of_pods| for_long(&mut open, of_pods, start + seconds * PATIENCE / 10);
        assert_eq!(after(0, refused("no such device")), []);
        assert_eq!(after(9, refused("no such device")), []);
        let another = refused("another").into_iter().map(|(_, warning)| warning);
        assert_eq!(after(10, refused("another")), another.collect::<Vec<_>>(), "of any text");
        assert_eq!(after(11, Vec::new()), []);
        assert_eq!(after(12, refused("no such device")), [], "it was enforced meanwhile");
    }
}
