//! Workloads with a pod template: the pods that their controller would create.

use policy_core::model::{ObjectName, Pod};

use super::{group, metadata, pod};
use crate::{
    ErrorSubject,
    decode::{Field, Map},
    yaml::{Node, Value},
};

/// Groups and kinds with a pod template that are read: those of Kubernetes, and one of `OpenShift`.
const KINDS: [(Option<&str>, &str); 11] = [
    (Some("apps"), "Deployment"),
    (Some("apps"), "StatefulSet"),
    (Some("apps"), "DaemonSet"),
    (Some("apps"), "ReplicaSet"),
    (Some("extensions"), "Deployment"),
    (Some("extensions"), "DaemonSet"),
    (Some("extensions"), "ReplicaSet"),
    (None, "ReplicationController"),
    (Some("batch"), "Job"),
    (Some("batch"), "CronJob"),
    (Some("apps.openshift.io"), "DeploymentConfig"),
];

/// A workload, and a pod of it without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// `kind` of the workload.
    pub kind: &'static str,
    /// Its namespace and name.
    pub name: ObjectName,
    /// The pod.
    pub pod: Pod,
    /// Whether it runs more than one pod, so that its pods can be peers of one another.
    pub has_copies: bool,
    /// Whether an API server has stored it: its pods exist then.
    pub is_stored: bool,
    /// Whether another object controls it, as a Deployment its `ReplicaSet`.
    pub is_controlled: bool,
}

impl Template {
    /// How an error names it.
    pub(crate) fn subject(&self) -> ErrorSubject {
        subject(self.kind, &self.name)
    }
}

/// How an error names a workload.
pub(super) fn subject(kind: &str, name: &ObjectName) -> ErrorSubject {
    ErrorSubject::Kind(format!("{kind} {name}"))
}

/// The workload kind of this name and version, if Kubernetes has it.
pub(super) fn kind(name: &str, api_version: &str) -> Option<&'static str> {
    let found = KINDS.iter().find(|known| **known == (group(api_version), name));
    found.map(|(_, kind)| *kind)
}

/// Decodes a workload with this name; `None` where it has no template.
pub(super) fn decode(kind: &'static str, name: ObjectName, object: &Map<'_>) -> Option<Template> {
    let spec = object.map("spec")?;
    let template = match kind {
        "CronJob" => spec.map("jobTemplate")?.map("spec")?.map("template")?,
        _ => spec.map("template")?,
    };
    let metadata = object.map("metadata");
    let uid = metadata.as_ref().and_then(|metadata| metadata.get("uid")).is_some();
    Some(Template {
        kind,
        name,
        pod: pod::decode(&template),
        has_copies: kind == "DaemonSet" || replicas(kind, &spec) > 1,
        is_stored: uid,
        is_controlled: metadata::has_controller(object),
    })
}

/// How many pods run at the same time; one where the field is absent or an autoscaler sets it.
fn replicas(kind: &str, spec: &Map<'_>) -> u16 {
    let field = match kind {
        "Job" => spec.get("parallelism"),
        "CronJob" => None,
        _ => spec.get("replicas"),
    };
    field.and_then(|field: Field<'_>| field.whole_number(u16::MAX)).unwrap_or(1)
}

/// Whether an object of a kind of another project has a pod template at any depth, as a Rollout or a
/// `JobSet` has.
pub(super) fn is_in(node: &Node, api_version: &str) -> bool {
    // Kubernetes' own kinds with a template run no pods by it: a ControllerRevision is a copy.
    let is_own = matches!(group(api_version), None | Some("apps" | "batch" | "extensions"));
    !is_own && has_template(node)
}

fn has_template(node: &Node) -> bool {
    let is_template = |node: &Node| {
        let containers = node.get("spec").and_then(|spec| spec.get("containers"));
        containers.is_some_and(|containers| matches!(containers.value, Value::List(_)))
    };
    let named = node.get("template").is_some_and(is_template);
    let inside = || match &node.value {
        Value::Map(entries) => entries.iter().any(|(_, value)| has_template(value)),
        Value::List(items) => items.iter().any(has_template),
        Value::Null | Value::Bool(..) | Value::Number(_) | Value::Text(_) => false,
    };
    named || inside()
}
