//! An object of the API server, as JSON and as a change of the model.
//!
//! Input: what `kube` parsed. Output: the same object without `managedFields`, or the change of the
//! snapshot that `policy-manifest` reads from it. Watch and list call it.

use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject, TypeMeta},
};
use policy_core::model::{ObjectName, ObjectRef};
use policy_manifest::{Received, receive};
use serde_json::Value;

use crate::Resource;

/// How errors in an object name the place where it was read.
const SOURCE: &str = "the API server";

/// The reference of an object.
pub(crate) fn reference(resource: &Resource, object: &DynamicObject) -> ObjectRef {
    let (kind, name) = (resource.kind, object.name_any());
    match object.namespace() {
        Some(namespace) => ObjectRef::namespaced(kind, &ObjectName::new(namespace, name)),
        None => ObjectRef::cluster_wide(kind, name),
    }
}

/// The object as JSON, with `apiVersion` and `kind`, which items of a list lack. `managedFields` is
/// removed: it is half of the text, and no policy depends on it.
pub(crate) fn json(
    resource: &ApiResource,
    mut object: DynamicObject,
) -> Result<Value, serde_json::Error> {
    let (api_version, kind) = (resource.api_version.clone(), resource.kind.clone());
    object.types = Some(TypeMeta { api_version, kind });
    object.metadata.managed_fields = None;
    serde_json::to_value(&object)
}

/// The change that an object means, and which parts of it cannot be read.
pub(crate) fn change(
    resource: &ApiResource,
    object: DynamicObject,
) -> Result<Received, serde_json::Error> {
    Ok(receive(&json(resource, object)?, SOURCE))
}
