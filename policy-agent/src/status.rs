//! What is enforced on the node, pod by pod and policy by policy (S50): `/status`.
//!
//! Input: the desired state and the last reconciliation. Output: the JSON that `policy-agent status`
//! prints. Field names are a contract. The daemon builds it for each request.

use std::collections::{BTreeMap, BTreeSet};

use policy_core::{
    desired::{Desired, DesiredEndpoint, Isolation},
    fault::Fault,
    intent::OffCause,
    lint::Finding,
    model::{ObjectName, ObjectRef, PolicyRef, Snapshot},
};
use policy_report::status::{Pod, PodState, Policy, PolicyState, Status};

use crate::node::{HeldBack, Node, Reconciled};

/// The status after the reconciliation `last`. `failure` is why a later one failed, `not_ready`
/// why the agent is not ready.
pub(crate) fn status(
    node: &Node,
    last: &Reconciled,
    failure: Option<&str>,
    not_ready: Option<String>,
) -> Status {
    let desired = node.desired();
    let pods = desired.endpoints.iter();
    let pods = pods.map(|(name, endpoint)| pod_status(name, endpoint, node, last, failure));
    let pods: Vec<Pod> = pods.collect();
    let policies = policies(desired, node.snapshot(), last, &pods);
    let unknown = last.interfaces_without_pod.iter();
    Status {
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
pub(crate) fn with_notes(mut status: Status, findings: &[Finding]) -> Status {
    for Finding { object, field, message, suggestion, .. } in findings {
        let is_about = |policy: &&mut Policy| {
            policy.kind == object.kind().name()
                && policy.namespace.as_deref() == object.namespace()
                && policy.name == object.name()
        };
        if let Some(policy) = status.policies.iter_mut().find(is_about) {
            policy.notes.push(format!("{field}: {message}; {suggestion}"));
        }
    }
    status
}

fn pod_status(
    name: &ObjectName,
    pod: &DesiredEndpoint,
    node: &Node,
    last: &Reconciled,
    failure: Option<&str>,
) -> Pod {
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
    Pod {
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
