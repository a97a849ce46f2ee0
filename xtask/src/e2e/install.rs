//! The agent on a cluster, as an operator installs it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::kubectl::Kubectl;
use crate::cluster::layout::Layout;
use crate::cluster::{self, node, until};
use crate::command::{answer, workspace};
use crate::image::{self, Build};

/// Name of namespace, `DaemonSet` and label.
pub(crate) const NAMESPACE: &str = "policy-system";

/// Name of the `DaemonSet`.
pub(super) const AGENT: &str = "policy-agent";
/// What installs it.
pub(super) const MANIFEST: &str = "manifests/install.yaml";
const UNINSTALL: &str = "manifests/uninstall.yaml";

/// Puts the agent's image on every node of our own cluster.
pub(super) fn load(layout: &Layout, build: Build) -> Result<()> {
    cluster::load(layout, &image::build(build)?)
}

/// Installs the agent; how long it takes until it enforces on every node.
pub(super) fn agent(kubectl: &Kubectl) -> Result<Duration> {
    agent_with(kubectl, MANIFEST)
}

/// Installs what a file of manifests, or a folder for kustomize, says; how long it takes until the
/// agent enforces on every node.
pub(super) fn agent_with(kubectl: &Kubectl, manifest: &str) -> Result<Duration> {
    let start = Instant::now();
    let form = if workspace().join(manifest).is_dir() { "--kustomize" } else { "--filename" };
    kubectl.answer(&["apply", form, &path(manifest)])?;
    rolled_out(kubectl)?;
    Ok(start.elapsed())
}

/// Waits until every node has the agent that is wanted, and enforces.
pub(super) fn rolled_out(kubectl: &Kubectl) -> Result<()> {
    let set = format!("daemonset/{AGENT}");
    kubectl.answer(&["-n", NAMESPACE, "rollout", "status", &set, "--timeout=120s"]).map(drop)
}

/// Takes the agent, and what it enforces, away.
pub(super) fn remove(kubectl: &Kubectl) -> Result<()> {
    kubectl.answer(&["delete", "--ignore-not-found", "-f", &path(MANIFEST)])?;
    kubectl.feed(&["apply", "-f", "-"], &read(UNINSTALL)?)?;
    let gone = ["-n", "policy-uninstall", "rollout", "status", "daemonset/policy-uninstall"];
    kubectl.answer(&[&gone[..], &["--timeout=120s"]].concat())?;
    kubectl.answer(&["delete", "-f", &path(UNINSTALL)])?;
    until("the end of the namespace", || !kubectl.succeeds(&["get", "namespace", NAMESPACE]))
}

/// Fails where anything of the agent is on a node of our own cluster.
pub(super) fn left_nothing(layout: &Layout) -> Result<()> {
    for name in cluster::running_nodes(layout)? {
        for path in ["/sys/fs/bpf/policy", "/opt/cni/bin/policy-cni", "/run/policy-agent"] {
            let mut test = node::inside(layout, &name)?;
            ensure!(
                answer(test.args(["test", "!", "-e", path])).is_some(),
                "{path} is left on {name}"
            );
        }
        let mut find = node::inside(layout, &name)?;
        let configured = find.args(["grep", "--recursive", "policy-cni", "/etc/cni/net.d"]);
        ensure!(answer(configured).is_none(), "{name} still has the plugin in its configuration");
    }
    Ok(())
}

fn path(manifest: &str) -> String {
    workspace().join(manifest).display().to_string()
}

fn read(manifest: &str) -> Result<String> {
    fs::read_to_string(workspace().join(manifest))
        .with_context(|| format!("cannot read {manifest}"))
}
