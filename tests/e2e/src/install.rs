//! Installs and removes the agent on a cluster, with the commands that an operator uses.
//!
//! `kubectl apply -f manifests/install.yaml` and its counterparts are under test here, so they are
//! run as they stand in docs/install.md.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::{Value, json};
use testbed::layout::Layout;
use testbed::{node, until};
use xtask::build::Profile;
use xtask::command::{answer, workspace};
use xtask::image::{self, POD_IMAGE};

use super::cluster::TestCluster;

/// Name of namespace, `DaemonSet` and label.
pub(crate) const NAMESPACE: &str = "policy-system";

/// Name of the `DaemonSet`.
pub(super) const AGENT: &str = "policy-agent";
/// The labels of the agents' pods.
pub(crate) const AGENTS: &str = "app.kubernetes.io/name=policy-agent";
/// The label of pods that only have to start; its value names the step of the test.
const STARTED: &str = "policy-started";
/// The manifest that installs the agent.
pub(super) const MANIFEST: &str = "manifests/install.yaml";
/// The overlay that installs the agent with the chained plugin.
pub(super) const WITH_PLUGIN: &str = "manifests/overlays/cni";
const UNINSTALL: &str = "manifests/uninstall.yaml";

/// How long the agent's namespace may take to disappear.
const GONE: Duration = Duration::from_mins(2);

/// How long a pod may take to become ready.
const START: Duration = Duration::from_mins(1);

/// Loads the agent's image into every node of a cluster of this machine.
pub(super) fn load(layout: &Layout, profile: Profile) -> Result<()> {
    testbed::load(layout, &image::build(profile)?)
}

/// Installs the agent; returns how long it needs until it enforces on every node.
pub(super) fn agent(cluster: &TestCluster) -> Result<Duration> {
    agent_with(cluster, MANIFEST)
}

/// Installs a file of manifests or a folder for kustomize; returns how long the agent needs until it
/// enforces on every node.
pub(super) fn agent_with(cluster: &TestCluster, manifest: &str) -> Result<Duration> {
    let start = Instant::now();
    let form = if workspace().join(manifest).is_dir() { "--kustomize" } else { "--filename" };
    cluster.kubectl.answer(&["apply", form, &path(manifest)])?;
    rolled_out(cluster)?;
    Ok(start.elapsed())
}

/// Waits until every node runs the wanted agent and it is ready.
pub(super) fn rolled_out(cluster: &TestCluster) -> Result<()> {
    let set = format!("daemonset/{AGENT}");
    let wait = ["-n", NAMESPACE, "rollout", "status", &set, "--timeout=120s"];
    cluster.kubectl.answer(&wait).map(drop)
}

/// A change of the `DaemonSet` that replaces every agent.
pub(super) fn annotated(text: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"policy-tests": text}}}}})
}

/// Removes the agent and what it enforces.
pub(super) fn remove(cluster: &TestCluster) -> Result<()> {
    let kubectl = &cluster.kubectl;
    kubectl.answer(&["delete", "--ignore-not-found", "-f", &path(MANIFEST)])?;
    kubectl.answer(&["apply", "-f", &path(UNINSTALL)])?;
    let removed = ["-n", "policy-uninstall", "rollout", "status", "daemonset/policy-uninstall"];
    kubectl.answer(&[&removed[..], &["--timeout=120s"]].concat())?;
    kubectl.answer(&["delete", "-f", &path(UNINSTALL)])?;
    gone(cluster)
}

/// Whether the agent's namespace exists.
pub(super) fn exists(cluster: &TestCluster) -> Result<bool> {
    Ok(cluster.client.cluster_wide::<Namespace>().exists(NAMESPACE)?)
}

/// Waits until the agent's namespace is gone, and with it the agent.
pub(super) fn gone(cluster: &TestCluster) -> Result<()> {
    let absent = |namespace: Option<&Namespace>| namespace.is_none();
    Ok(cluster.client.cluster_wide().wait(NAMESPACE, GONE, "gone", absent)?)
}

/// Installs the chained plugin, turns it off and uninstalls everything: pods start at every
/// step, earlier pods can be deleted afterwards, and nothing is left.
pub(super) fn plugin_comes_and_goes(cluster: &TestCluster, layout: &Layout) -> Result<()> {
    let nodes = testbed::running_nodes(layout)?;
    let pods_start = |when: &str| -> Result<()> {
        let took = pods_start(cluster, &nodes, when)?;
        println!("{when}: pods ready after {:.1} s", took.as_secs_f64());
        Ok(())
    };
    agent_with(cluster, WITH_PLUGIN)?;
    until("the plugin's entry", || nodes.iter().all(|node| has_entry(layout, node)))?;
    pods_start("with-the-plugin")?;
    agent(cluster)?;
    ensure!(nodes.iter().all(|node| has_entry(layout, node)), "the base takes the entry out");
    pods_start("with-it-turned-off")?;
    let start = Instant::now();
    remove(cluster)?;
    println!("uninstalled after {:.1} s", start.elapsed().as_secs_f64());
    left_nothing(layout)?;
    pods_start("after-the-uninstall")?;
    let pods = cluster.client.namespaced::<Pod>("default");
    pods.delete_all(STARTED).context("earlier pods do not end")
}

/// Fails if anything of the agent is left on a node of a cluster of this machine.
pub(super) fn left_nothing(layout: &Layout) -> Result<()> {
    for name in testbed::running_nodes(layout)? {
        for path in ["/sys/fs/bpf/policy", "/opt/cni/bin/policy-cni", "/run/policy-agent"] {
            ensure!(
                answered(layout, &name, &["test", "!", "-e", path]).is_some(),
                "{path} is left on {name}"
            );
        }
        let half = ["find", "/etc/cni/net.d", "/opt/cni/bin", "-name", ".*.policy-cni-new"];
        let half = answered(layout, &name, &half).context("find failed")?;
        ensure!(half.trim().is_empty(), "{half} is left on {name}");
        ensure!(!has_entry(layout, &name), "{name} still has the plugin in its configuration");
    }
    Ok(())
}

/// Whether the plugin is in a node's configuration.
fn has_entry(layout: &Layout, node: &str) -> bool {
    answered(layout, node, &["grep", "--recursive", "policy-cni", "/etc/cni/net.d"]).is_some()
}

/// The output of a command on a node, if it succeeds.
fn answered(layout: &Layout, node: &str, words: &[&str]) -> Option<String> {
    answer(node::inside(layout, node).ok()?.args(words))
}

/// Starts a pod on each node; returns how long they need to become ready.
fn pods_start(cluster: &TestCluster, nodes: &[String], when: &str) -> Result<Duration> {
    let start = Instant::now();
    let pods = nodes.iter().map(|node| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": format!("{when}-on-{node}"), "labels": {STARTED: when}},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "pod", "image": POD_IMAGE, "imagePullPolicy": "IfNotPresent"}],
            },
        })
    });
    cluster.client.apply(&pods.collect::<Vec<_>>())?;
    let these = format!("{STARTED}={when}");
    cluster
        .client
        .namespaced::<Pod>("default")
        .ready(&these, START)
        .with_context(|| format!("{when}: a pod does not start"))?;
    Ok(start.elapsed())
}

fn path(manifest: &str) -> String {
    workspace().join(manifest).display().to_string()
}

/// The objects of a manifest of this repository.
pub(super) fn objects(manifest: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(workspace().join(manifest))
        .with_context(|| format!("cannot read {manifest}"))?;
    Ok(serde_saphyr::from_multiple(&text)?)
}
