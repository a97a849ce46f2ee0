//! What is enforced on the node, pod by pod and policy by policy (S50): `/status`.
//!
//! Input: the desired state and the last reconciliation. Output: the JSON that `policy-agent status`
//! prints. Field names are a contract. The daemon builds it for each request.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::{Desired, DesiredEndpoint, Isolation},
    fault::Fault,
    intent::OffCause,
    lint::Finding,
    model::{ObjectName, ObjectRef, PolicyRef, Snapshot},
};
use serde::{Deserialize, Serialize};

use crate::node::{HeldBack, Node, Reconciled};

/// The answer to `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `metadata.name` of the Node.
    pub node: String,
    /// Why the agent is not ready, as in `/readyz`; `null` where it is ready.
    pub not_ready: Option<String>,
    /// Why enforcement is off, so that every packet passes; `null` where it is on.
    #[serde(default)]
    pub off: Option<String>,
    /// Whether `policy-agent off` has switched it off.
    #[serde(default)]
    pub off_by_command: bool,
    /// Pods of the node that can have an interface, by name.
    pub pods: Vec<Pod>,
    /// Policies that select a pod of the node, and those of held-back namespaces, by name.
    pub policies: Vec<Policy>,
    /// Interfaces that lead to no known pod, by name.
    pub unknown_interfaces: Vec<String>,
    /// Other programs that enforce policies on the node.
    pub other_enforcers: Vec<String>,
}

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Its addresses; empty before it has any.
    pub addresses: Vec<IpAddr>,
    /// Host side of its veth pair; `null` where none was found.
    pub interface: Option<String>,
    /// Whether its policies are enforced.
    pub state: PodState,
    /// Why they are not; `null` where they are.
    pub reason: Option<String>,
    /// Policies that isolate it for ingress, as `NAMESPACE/NAME`, or `NAME` where they are
    /// cluster-wide; `null` where none does.
    pub ingress: Option<Vec<String>>,
    /// The same for egress.
    pub egress: Option<Vec<String>>,
}

/// Whether policies are enforced at a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// They are enforced.
    Enforced,
    /// They are not.
    NotEnforced,
    /// The pod has no network yet, or its addresses are not known.
    WithoutAddress,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    pub kind: String,
    /// `metadata.namespace`; `None`, in JSON the empty text, where it is cluster-wide.
    #[serde(with = "none_is_empty")]
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
    /// Whether it is enforced.
    pub state: PolicyState,
    /// Pods of the node that it selects.
    pub pods: usize,
    /// Why it is not enforced as it is written: its faults, and pods at which it is not enforced.
    pub reasons: Vec<String>,
    /// What is enforced as it is written and probably not what is meant: named ports that no pod has.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whether a policy is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// It is enforced at every pod of the node that it selects.
    Enforced,
    /// A part of it cannot be enforced as it is written, and allows less.
    Closed,
    /// It is not enforced at a pod of the node that it selects.
    NotEnforced,
    /// The policies of its namespace do not fit into the maps; the previous ones are enforced.
    HeldBack,
}

impl Status {
    /// The status after the reconciliation `last`. `failure` is why a later one failed, `not_ready`
    /// why the agent is not ready.
    pub(crate) fn new(
        node: &Node,
        last: &Reconciled,
        failure: Option<&str>,
        not_ready: Option<String>,
    ) -> Self {
        let desired = node.desired();
        let pods = desired.endpoints.iter();
        let pods = pods.map(|(name, pod)| Pod::new(name, pod, node, last, failure));
        let pods: Vec<Pod> = pods.collect();
        let policies = policies(desired, node.snapshot(), last, &pods);
        let unknown = last.interfaces_without_pod.iter();
        Self {
            node: node.name().to_owned(),
            not_ready,
            off: node.off_cause().map(|cause| cause.to_string()),
            off_by_command: node.off_cause() == Some(OffCause::Command),
            pods,
            policies,
            unknown_interfaces: unknown.map(|interface| interface.name.clone()).collect(),
            other_enforcers: Vec::new(),
        }
    }

    /// The same with findings, each as a note of its policy.
    pub(crate) fn with_notes(mut self, findings: &[Finding]) -> Self {
        for Finding { object, field, message, suggestion, .. } in findings {
            let is_about = |policy: &&mut Policy| {
                policy.kind == object.kind().name()
                    && policy.namespace.as_deref() == object.namespace()
                    && policy.name == object.name()
            };
            if let Some(policy) = self.policies.iter_mut().find(is_about) {
                policy.notes.push(format!("{field}: {message}; {suggestion}"));
            }
        }
        self
    }

    /// Whether everything is enforced as it is written.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.not_ready.is_none()
            && self.off.is_none()
            && self.pods.iter().all(|pod| pod.state != PodState::NotEnforced)
            && self.policies.iter().all(|policy| policy.state == PolicyState::Enforced)
    }
}

impl Pod {
    fn new(
        name: &ObjectName,
        pod: &DesiredEndpoint,
        node: &Node,
        last: &Reconciled,
        failure: Option<&str>,
    ) -> Self {
        let refused = last.not_attached.iter().find(|refused| refused.pod == *name);
        let closed = last.closed_pods.iter().find(|closed| closed.pod == *name);
        let closed = closed.map(|closed| format!("nothing passes: {}", closed.reason));
        let interface = node.interface_of(&pod.addresses);
        let is_missing = interface.is_none() || last.pods_without_interface.contains(name);
        let bypass = node.bypassed().find(|(pod, _)| *pod == name);
        let bypass = bypass.map(|(_, bypass)| bypass.to_string());
        let off = node.off_cause().map(|cause| format!("enforcement is off: {cause}"));
        let (state, reason) = match (refused, failure) {
            _ if off.is_some() => (PodState::NotEnforced, off),
            (Some(refused), _) => (PodState::NotEnforced, Some(refused.reason.clone())),
            _ if closed.is_some() => (PodState::NotEnforced, closed),
            _ if pod.addresses.is_empty() => (PodState::WithoutAddress, None),
            _ if is_missing => {
                (PodState::NotEnforced, Some("no interface of the node leads to it".to_owned()))
            }
            _ if bypass.is_some() => (PodState::NotEnforced, bypass),
            // A failed reconciliation may concern any pod.
            (None, Some(why)) => {
                (PodState::NotEnforced, Some(format!("the last change is not in force: {why}")))
            }
            (None, None) => (PodState::Enforced, None),
        };
        let policies = |isolation: &Option<Isolation>| {
            let policies = isolation.as_ref().map(|isolation| isolation.policies.iter());
            policies.map(|policies| policies.map(ToString::to_string).collect())
        };
        Self {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            addresses: pod.addresses.clone(),
            interface,
            state,
            reason,
            ingress: policies(&pod.isolation.ingress),
            egress: policies(&pod.isolation.egress),
        }
    }
}

/// Policies that select a pod of the node, and those of namespaces that are held back. `pods` are
/// those of `desired`, in the same order.
fn policies(
    desired: &Desired,
    snapshot: &Snapshot,
    last: &Reconciled,
    pods: &[Pod],
) -> Vec<Policy> {
    let all = snapshot.policies.keys().cloned().map(PolicyRef::Namespaced);
    let held = all.filter(|name| held_back(last, name).is_some());
    let mut selected: BTreeMap<PolicyRef, Vec<&Pod>> =
        held.map(|name| (name, Vec::new())).collect();
    for (endpoint, pod) in desired.endpoints.values().zip(pods) {
        let isolations = endpoint.isolation.values().flatten();
        let names: BTreeSet<&PolicyRef> = isolations.flat_map(|one| &one.policies).collect();
        for name in names {
            selected.entry(name.clone()).or_default().push(pod);
        }
    }
    selected.iter().map(|(name, pods)| policy(name, last, pods)).collect()
}

fn held_back<'a>(last: &'a Reconciled, policy: &PolicyRef) -> Option<&'a HeldBack> {
    let namespace = policy.namespace()?;
    last.held_back.iter().find(|held| held.namespace == namespace)
}

fn policy(name: &PolicyRef, last: &Reconciled, selected: &[&Pod]) -> Policy {
    let object = ObjectRef::from(name.clone());
    let missing = selected.iter().filter_map(|pod| {
        let reason = pod.reason.as_ref()?;
        Some(format!("not enforced at pod {}/{}: {reason}", pod.namespace, pod.name))
    });
    let missing: Vec<String> = missing.collect();
    let faults = last.faults.iter().filter(|fault| fault.object == object);
    let report = |fault: &Fault| format!("{}: {}; {}", fault.field, fault.problem, fault.effect);
    let faults: Vec<String> = faults.map(report).collect();
    let held = held_back(last, name).map(|held| held.reason.clone());
    let state = match (&held, missing.is_empty(), faults.is_empty()) {
        (Some(_), _, _) => PolicyState::HeldBack,
        (None, false, _) => PolicyState::NotEnforced,
        (None, true, false) => PolicyState::Closed,
        (None, true, true) => PolicyState::Enforced,
    };
    Policy {
        kind: name.kind().name().to_owned(),
        namespace: name.namespace().map(str::to_owned),
        name: name.name().to_owned(),
        state,
        pods: selected.len(),
        reasons: held.into_iter().chain(missing).chain(faults).collect(),
        notes: Vec::new(),
    }
}

/// An absent text as the empty text, which the JSON of a cluster-wide policy has.
mod none_is_empty {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        text: &Option<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().unwrap_or_default().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<String>, D::Error> {
        Ok(Some(String::deserialize(from)?).filter(|text| !text.is_empty()))
    }
}
