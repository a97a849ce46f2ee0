//! Policies as their manifests name them.
//!
//! A policy of the older API is evaluated as a `ClusterNetworkPolicy`; messages and patches name
//! the object that the cluster has:
//!
//! ```text
//! ClusterWide("AdminNetworkPolicy/vault")   AdminNetworkPolicy vault
//! ClusterWide("vault")                      ClusterNetworkPolicy vault
//! Namespaced(shop/web)                      NetworkPolicy shop/web
//! ```

use policy_core::model::{ObjectRef, PolicyRef};

/// Kind and name of a policy; the name has the namespace in front, where there is one.
pub(crate) fn kind_and_name(policy: &PolicyRef) -> (String, String) {
    match policy.converted_from() {
        Some((kind, name)) => (kind.to_owned(), name.to_owned()),
        None => (policy.kind().to_string(), policy.to_string()),
    }
}

/// Kind and name of an object of any kind.
pub(crate) fn kind_and_name_of(object: &ObjectRef) -> (String, String) {
    match object.policy() {
        Some(policy) => kind_and_name(&policy),
        None => (object.kind().to_string(), object.to_string()),
    }
}

/// Kind and name of a cluster-wide policy, as one text.
pub(crate) fn cluster_policy(name: &str) -> String {
    let (kind, name) = kind_and_name(&PolicyRef::ClusterWide(name.to_owned()));
    format!("{kind} {name}")
}
