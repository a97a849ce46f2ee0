//! What the server answers: the bodies that a real API server would send.
//!
//! Tests give them to [`ApiServer::set`](crate::ApiServer::set); the server itself sends refusals and
//! the bookmark that ends a streamed list.

use serde_json::{Value, json};

use crate::Answer;

/// The list of groups, with or without that of cluster-wide policies.
#[must_use]
pub fn groups(has_cluster_policies: bool) -> Answer {
    groups_with(if has_cluster_policies { &["v1beta1"] } else { &[] })
}

/// The list of groups, with that of cluster-wide policies in some versions.
#[must_use]
pub fn groups_with(versions: &[&str]) -> Answer {
    let group = |name: &str, versions: &[&str]| {
        let version = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
        let versions: Vec<Value> = versions.iter().map(version).collect();
        json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
    };
    let mut groups = vec![group("networking.k8s.io", &["v1"])];
    if !versions.is_empty() {
        groups.push(group("policy.networking.k8s.io", versions));
    }
    Answer::Json(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// The list of resources of a version, with cluster-wide policies.
#[must_use]
pub fn resources(version: &str) -> Answer {
    Answer::Json(
        200,
        json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": format!("policy.networking.k8s.io/{version}"),
            "resources": [{
                "name": "clusternetworkpolicies", "singularName": "", "namespaced": false,
                "kind": "ClusterNetworkPolicy", "verbs": ["list", "watch"],
            }],
        }),
    )
}

/// A cluster-wide policy under which nothing leaves any pod.
#[must_use]
pub fn denies_all() -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1beta1", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "deny", "resourceVersion": "1"},
        "spec": {
            "tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
            "egress": [{"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}],
        },
    })
}

/// A refusal as an API server gives it.
#[must_use]
pub fn status(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("fake refusal {code}"), "reason": "Fake", "code": code,
    })
}

/// The event that marks the end of a streamed list.
#[must_use]
pub fn bookmark() -> Value {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let metadata = json!({"resourceVersion": "1", "annotations": annotations});
    let object = json!({"kind": "Any", "apiVersion": "v1", "metadata": metadata});
    json!({"type": "BOOKMARK", "object": object})
}
