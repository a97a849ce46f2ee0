//! What an agent says of its node, pod by pod and policy by policy (S50): `/status`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::{Desired, DesiredEndpoint, Isolation},
    fault::Fault,
    model::{ObjectName, ObjectRef, PolicyRef, Snapshot},
};
use serde::{Deserialize, Serialize};

use crate::node::{HeldBack, Node, Reconciled};

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `metadata.name` of the Node.
    pub node: String,
    /// Why the agent is not ready, as `/readyz` says it; `null` where it is.
    pub not_ready: Option<String>,
    /// Pods of the node that can have an interface, by name.
    pub pods: Vec<Pod>,
    /// Policies that select a pod of the node, or would, by name.
    pub policies: Vec<Policy>,
    /// Interfaces that lead to no known pod, by name.
    pub unknown_interfaces: Vec<String>,
    /// Others that enforce policies on the node.
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
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
    /// Host side of its link; `null` where none is known.
    pub interface: Option<String>,
    /// How it stands.
    pub state: PodState,
    /// Why it stands so, unless it is as it should be.
    pub reason: Option<String>,
    /// Policies that isolate it for ingress, as `NAMESPACE/NAME`, or `NAME` where they are
    /// cluster-wide; `null` where none does.
    pub ingress: Option<Vec<String>>,
    /// The same for egress.
    pub egress: Option<Vec<String>>,
}

/// How it stands with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// It is under its policies.
    Enforced,
    /// It is not.
    NotEnforced,
    /// It has no network yet, or it is not known.
    WithoutAddress,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    pub kind: String,
    /// `metadata.namespace`; empty where it is cluster-wide.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// How it stands.
    pub state: PolicyState,
    /// Pods of the node that it selects.
    pub pods: usize,
    /// Why it stands so: what it asks for and cannot have, and pods at which it is not enforced.
    pub reasons: Vec<String>,
}

/// How it stands with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// It is enforced at every pod of the node that it selects.
    Enforced,
    /// A part of it cannot be expressed, and has its closed reading.
    Closed,
    /// It is not enforced at a pod of the node that it selects.
    NotEnforced,
    /// The policies of its namespace find no room: those of before are in force.
    HeldBack,
}

impl Status {
    /// What a node came to last, what was found there, and why what is asked for since could not be
    /// brought in force.
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
            pods,
            policies,
            unknown_interfaces: unknown.map(|interface| interface.name.clone()).collect(),
            other_enforcers: Vec::new(),
        }
    }

    /// Whether everything is as it was asked for.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.not_ready.is_none()
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
        let interface = node.interface_of(&pod.addresses);
        let is_missing = interface.is_none() || last.pods_without_interface.contains(name);
        let (state, reason) = match (refused, failure) {
            (Some(refused), _) => (PodState::NotEnforced, Some(refused.reason.clone())),
            _ if pod.addresses.is_empty() => (PodState::WithoutAddress, None),
            _ if is_missing => {
                (PodState::NotEnforced, Some("no interface of the node leads to it".to_owned()))
            }
            // Whom it concerns is not known.
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

    /// Policies that isolate it, each once.
    fn policies(&self) -> BTreeSet<&str> {
        self.ingress.iter().chain(&self.egress).flatten().map(String::as_str).collect()
    }
}

/// Policies that select a pod of the node, and those of namespaces that are held back.
fn policies(
    desired: &Desired,
    snapshot: &Snapshot,
    last: &Reconciled,
    pods: &[Pod],
) -> Vec<Policy> {
    let isolations = desired.endpoints.values();
    let isolations = isolations.flat_map(|pod| pod.isolation.values().flatten());
    let mut names: BTreeSet<PolicyRef> =
        isolations.flat_map(|one| &one.policies).cloned().collect();
    let all = snapshot.policies.keys().cloned().map(PolicyRef::Namespaced);
    names.extend(all.filter(|name| held_back(last, name).is_some()));
    let mut selected: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        for policy in pod.policies() {
            selected.entry(policy).or_default().push(pod);
        }
    }
    let selected = |name: &PolicyRef| selected.get(&*name.to_string()).cloned();
    names.iter().map(|name| policy(name, last, &selected(name).unwrap_or_default())).collect()
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
        namespace: name.namespace().unwrap_or_default().to_owned(),
        name: name.name().to_owned(),
        state,
        pods: selected.len(),
        reasons: held.into_iter().chain(missing).chain(faults).collect(),
    }
}
