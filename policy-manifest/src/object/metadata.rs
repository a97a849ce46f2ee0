//! `metadata` (`meta/v1` `ObjectMeta`).

use policy_core::model::{
    ANTI_SPOOFING, Annotations, DENY_REPLY, DenyReply, ENFORCEMENT, INJECT_LINKERD, Kind, Labels,
    ObjectName, ObjectRef, Workload,
};

use crate::{
    ErrorSubject,
    decode::{Field, Log, Map},
    problem::Problem,
    syntax,
};

/// Every field of `ObjectMeta`, old ones included, for kinds that are decoded strictly.
pub(super) const FIELDS: [&str; 16] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "clusterName",
    "managedFields",
];

/// The annotation in which `kubectl apply` keeps a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Name of an object in a namespace, by default the namespace `default`.
///
/// `None` where the name is not legal: then the rest of the object is not decoded.
pub(super) fn name(
    kind: Kind,
    object: &Map<'_>,
    legal: fn(&str) -> bool,
    log: &Log,
) -> Option<ObjectName> {
    let name = namespaced_name(object, legal)?;
    log.set_subject(ErrorSubject::Object(ObjectRef::namespaced(kind, &name)));
    Some(name)
}

/// `metadata.namespace`, by default `default`, and `metadata.name`.
pub(super) fn namespaced_name(object: &Map<'_>, legal: fn(&str) -> bool) -> Option<ObjectName> {
    let metadata = object.require("metadata")?.map()?;
    let namespace = match metadata.get("namespace").filter(|field| !field.is_empty_string()) {
        Some(field) => field.checked(syntax::is_label, |found| Problem::ObjectName { found }),
        None => Some("default".to_owned()),
    };
    let name = metadata.require("name")?;
    let name = name.checked(legal, |found| Problem::ObjectName { found });
    Some(ObjectName::new(namespace?, name?))
}

/// Name of an object without a namespace.
pub(super) fn cluster_name(
    kind: Kind,
    object: &Map<'_>,
    legal: fn(&str) -> bool,
    log: &Log,
) -> Option<String> {
    let name = object.require("metadata")?.map()?.require("name")?;
    let name = name.checked(legal, |found| Problem::ObjectName { found })?;
    log.set_subject(ErrorSubject::Object(ObjectRef::cluster_wide(kind, &name)));
    Some(name)
}

/// Reports unknown fields of `metadata`, for kinds that are decoded strictly; returns the annotations.
pub(super) fn check(object: &Map<'_>) -> Annotations {
    if let Some(metadata) = object.map("metadata") {
        metadata.check_only(&FIELDS);
    }
    labels(object);
    annotations(object)
}

/// `metadata.annotations`, without the copy of the object that kubectl keeps there.
fn annotations(object: &Map<'_>) -> Annotations {
    let annotations = object.map("metadata").and_then(|metadata| metadata.map("annotations"));
    let entries = annotations.iter().flat_map(Map::entries);
    let entries = entries.filter_map(|(key, value)| {
        let (key, value) = (key.string(), value.string());
        key.zip(value)
    });
    entries.filter(|(key, _)| key != LAST_APPLIED).collect()
}

/// Whether a namespace frees its pods from the check of source addresses (S46).
pub(super) fn disables_anti_spoofing(object: &Map<'_>) -> bool {
    annotations(object).get(ANTI_SPOOFING).is_some_and(|value| value == "disabled")
}

/// What the pods of a namespace get back if policies deny a connection that they open (S59); `None`
/// where the namespace has no choice of its own.
pub(super) fn deny_reply(object: &Map<'_>) -> Option<DenyReply> {
    annotations(object).get(DENY_REPLY).and_then(|name| DenyReply::from_name(name))
}

/// Whether a namespace puts its pods into Linkerd's mesh.
pub(super) fn injects_linkerd(object: &Map<'_>) -> bool {
    annotations(object).get(INJECT_LINKERD).is_some_and(|value| value == "enabled")
}

/// Whether a Node asks its agent to enforce nothing.
pub(super) fn disables_enforcement(object: &Map<'_>) -> bool {
    annotations(object).get(ENFORCEMENT).is_some_and(|value| value == "disabled")
}

/// The workload of a pod with these labels, from the controller among `metadata.ownerReferences`.
pub(super) fn workload(object: &Map<'_>, labels: &Labels) -> Option<Workload> {
    let owner = controller(object)?;
    let text = |name| owner.require(name)?.string();
    let (kind, name) = (text("kind"), text("name"));
    Some(Workload::of_controller(&kind?, &name?, labels))
}

/// Whether another object controls this one.
pub(super) fn has_controller(object: &Map<'_>) -> bool {
    controller(object).is_some()
}

/// The entry of `metadata.ownerReferences` with `controller: true`.
fn controller<'a>(object: &Map<'a>) -> Option<Map<'a>> {
    let owners = object.map("metadata")?.list("ownerReferences");
    let mut owners = owners.iter().filter_map(Field::map);
    let controls = |owner: &Map<'_>| owner.get("controller").and_then(|field| field.boolean());
    owners.find(|owner| controls(owner) == Some(true))
}

/// Whether kube-proxy leaves a Service or slice with these labels alone (S40).
pub(super) fn is_of_another_proxy(labels: &Labels) -> bool {
    ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"]
        .iter()
        .any(|label| labels.contains_key(*label))
}

/// `metadata.labels`.
pub(super) fn labels(object: &Map<'_>) -> Labels {
    let labels = object.map("metadata").and_then(|metadata| metadata.map("labels"));
    labels.map(|labels| label_map(&labels)).unwrap_or_default()
}

/// A mapping of labels.
pub(super) fn label_map(labels: &Map<'_>) -> Labels {
    labels
        .entries()
        .filter_map(|(key, value)| {
            let key = key.checked(syntax::is_label_key, |found| Problem::LabelKey { found });
            let value =
                value.checked(syntax::is_label_value, |found| Problem::LabelValue { found });
            key.zip(value)
        })
        .collect()
}
