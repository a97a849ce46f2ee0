//! Policies of other kinds in a cluster.

use std::{fs, io};

use serde_json::{Value, json};

use super::{Answers, Fake, list, paged, refusal};
use crate::program::{answer, assert_answers, assert_code, printed};

/// A cluster with one object of a kind that no verdict covers, or of an older kind of tiers. The
/// server prefers a version of the group that does not have the kind.
fn with_kind(path: &str, group: &str, kind: &str, plural: &str, spec: &Value) -> (u16, Value) {
    let version = format!("{group}/v1alpha1");
    if path == "/apis" {
        let entry = |group: &str, versions: &[&str]| {
            let version = |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
            let versions: Vec<Value> = versions.iter().map(version).collect();
            json!({"name": group, "preferredVersion": versions[0], "versions": versions})
        };
        let groups =
            json!([entry("networking.k8s.io", &["v1"]), entry(group, &["v1alpha2", "v1alpha1"])]);
        return (200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
    }
    if path == format!("/apis/{group}/v1alpha2") {
        return resource_list(path, &json!([]));
    }
    if path == format!("/apis/{version}") {
        let resource = json!({
            "name": plural, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["list"],
        });
        return resource_list(path, &json!([resource]));
    }
    if path.starts_with(&format!("/apis/{version}/{plural}?")) {
        return list(&[json!({"metadata": {"name": "p"}, "spec": spec})], "");
    }
    paged(path)
}

/// What discovery lists of a version of a group.
fn resource_list(path: &str, resources: &Value) -> (u16, Value) {
    let version = path.trim_start_matches("/apis/");
    (
        200,
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}),
    )
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
    // A policy of the change is not covered either, and one of the cluster is named once.
    let path = cluster.folder.path().join("new.yaml");
    fs::write(&path, "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n")?;
    let output = cluster.run(&["diff", "--ignore-foreign", "-f", &path.display().to_string()])?;
    assert_code(&output, 0);
    assert_answers(&output, &["policies: CiliumNetworkPolicy (", ", GlobalNetworkPolicy ("]);
    assert_eq!(answer(&output).matches("CiliumNetworkPolicy").count(), 1, "{}", printed(&output));
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

const ADMIN: &str = "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies";

/// A cluster with an `AdminNetworkPolicy` that denies everything.
fn with_admin_policy(path: &str) -> (u16, Value) {
    let every = json!([{"namespaces": {}}]);
    let spec = json!({
        "priority": 5, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": every}],
    });
    let group = "policy.networking.k8s.io";
    with_kind(path, group, "AdminNetworkPolicy", "adminnetworkpolicies", &spec)
}

#[test]
fn s51_an_older_kind_of_tiers_decides_in_a_cluster() -> io::Result<()> {
    let output = Fake::serve(with_admin_policy)?.run(&["simulate", "-A", "--port", "80"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["6 probes, 0 allowed, 6 denied", "AdminNetworkPolicy p"]);
    Ok(())
}

#[test]
fn policies_of_every_page_decide() -> io::Result<()> {
    let second_page: Answers = |path| match path.strip_prefix(ADMIN) {
        Some("?limit=500") => list(&[], "more"),
        _ => with_admin_policy(path),
    };
    let forgetful: Answers = |path| match path.strip_prefix(ADMIN) {
        Some("?limit=500") => list(&[], "more"),
        Some("?limit=500&continue=more") => refusal(410),
        _ => with_admin_policy(path),
    };
    for answers in [second_page, forgetful] {
        let output = Fake::serve(answers)?.run(&["simulate", "-A", "--port", "80"])?;
        assert_code(&output, 0);
        assert_answers(&output, &["6 probes, 0 allowed, 6 denied", "AdminNetworkPolicy p"]);
    }
    Ok(())
}
