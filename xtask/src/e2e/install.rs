//! The agent on a cluster, as an operator installs it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::kubectl::Kubectl;
use crate::cluster::layout::Layout;
use crate::cluster::{self, until};
use crate::command::workspace;
use crate::image::{self, Build};

/// Name of namespace, `DaemonSet` and label.
pub(crate) const NAMESPACE: &str = "policy-system";

const AGENT: &str = "policy-agent";
const MANIFEST: &str = "manifests/install.yaml";
const UNINSTALL: &str = "manifests/uninstall.yaml";

/// Puts the agent's image on every node of our own cluster.
pub(super) fn load(layout: &Layout, build: Build) -> Result<()> {
    cluster::load(layout, &image::build(build)?)
}

/// Installs the agent; how long it takes until it enforces on every node.
pub(super) fn agent(kubectl: &Kubectl) -> Result<Duration> {
    let start = Instant::now();
    kubectl.feed(&["apply", "-f", "-"], &read(MANIFEST)?)?;
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

fn path(manifest: &str) -> String {
    workspace().join(manifest).display().to_string()
}

fn read(manifest: &str) -> Result<String> {
    fs::read_to_string(workspace().join(manifest))
        .with_context(|| format!("cannot read {manifest}"))
}
