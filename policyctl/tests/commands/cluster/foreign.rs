//! Policies of other kinds in a cluster.

use std::io;

use serde_json::{Value, json};

use super::{Answers, Fake, list, paged, refusal};
use crate::program::{answer, assert_answers, assert_code, printed};

/// A cluster with one object of a kind that no verdict covers, or of an older kind of tiers.
fn with_kind(path: &str, group: &str, kind: &str, plural: &str, spec: &Value) -> (u16, Value) {
    let version = format!("{group}/v1alpha1");
    if path == "/apis" {
        let entry = |group: &str, version: &str| {
            let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            json!({"name": group, "versions": [version], "preferredVersion": version})
        };
        let groups = json!([entry("networking.k8s.io", "v1"), entry(group, "v1alpha1")]);
        return (200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
    }
    if path == format!("/apis/{version}") {
        let resource = json!({
            "name": plural, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["list"],
        });
        let resources = json!([resource]);
        return (
            200,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}),
        );
    }
    if path.starts_with(&format!("/apis/{version}/{plural}?")) {
        return list(&[json!({"metadata": {"name": "p"}, "spec": spec})], "");
    }
    paged(path)
}

#[test]
fn policies_that_no_verdict_covers_are_refused_in_a_cluster_too() -> io::Result<()> {
    let cilium: Answers = |path| {
        let spec = json!({"endpointSelector": {}});
        with_kind(path, "cilium.io", "CiliumNetworkPolicy", "ciliumnetworkpolicies", &spec)
    };
    let cluster = Fake::serve(cilium)?;
    let output = cluster.run(&["simulate", "-A"])?;
    assert_code(&output, 2);
    assert!(answer(&output).is_empty(), "{}", printed(&output));
    assert!(
        printed(&output).contains("CiliumNetworkPolicy of cilium.io/v1alpha1 is not supported")
    );
    let output = cluster.run(&["simulate", "-A", "--ignore-foreign"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["warning: the answer does not cover", "CiliumNetworkPolicy"]);
    let forbidden: Answers = |path| {
        if path.contains("/ciliumnetworkpolicies?") {
            return refusal(403);
        }
        let kind = ("CiliumNetworkPolicy", "ciliumnetworkpolicies");
        with_kind(path, "cilium.io", kind.0, kind.1, &Value::Null)
    };
    let output = Fake::serve(forbidden)?.run(&["simulate", "-A"])?;
    assert_code(&output, 3);
    assert!(printed(&output).contains("resources: [ciliumnetworkpolicies], verbs: [list]"));
    Ok(())
}

#[test]
fn s51_an_older_kind_of_tiers_decides_in_a_cluster() -> io::Result<()> {
    let admin: Answers = |path| {
        let every = json!([{"namespaces": {}}]);
        let spec = json!({
            "priority": 5, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": every}],
        });
        let group = "policy.networking.k8s.io";
        with_kind(path, group, "AdminNetworkPolicy", "adminnetworkpolicies", &spec)
    };
    let output = Fake::serve(admin)?.run(&["simulate", "-A"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["6 probes, 0 allowed, 6 denied", "AdminNetworkPolicy/p"]);
    Ok(())
}
