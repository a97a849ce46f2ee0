//! `cargo xtask e2e capabilities`: the agent needs every capability that its manifest grants.
//!
//! Capabilities are removed one at a time; without any of them no agent may become ready.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::Value;
use testbed::client::ClientError;
use xtask::build::Profile;

use super::cluster::{TestCluster, on_own};
use super::install::{self, AGENT, NAMESPACE};

/// Where a DaemonSet has the capabilities that its container adds.
const ADDED: &str = "/spec/template/spec/containers/0/securityContext/capabilities/add";

/// How long to wait for an agent that must not become ready.
const PATIENCE: Duration = Duration::from_secs(15);

/// Installs the agent without each capability in turn, then with all.
pub(super) fn run() -> Result<()> {
    let objects = install::objects(install::MANIFEST)?;
    let set = objects.iter().find(|object| object["kind"] == "DaemonSet");
    let all = set.and_then(|set| set.pointer(ADDED)).and_then(Value::as_array);
    let all = all.context("the manifest adds no capabilities")?.clone();
    on_own("capabilities", &testbed::Shape::default(), false, Profile::Release, |cluster| {
        for left_out in &all {
            let rest = all.iter().filter(|one| *one != left_out).cloned().collect();
            let ready = becomes_ready(cluster, &objects, rest)?;
            println!("without {left_out}: {}", if ready { "ready" } else { "not ready" });
            ensure!(!ready, "the agent does not need {left_out}");
        }
        ensure!(becomes_ready(cluster, &objects, all.clone())?, "not ready with all of them");
        println!("with {}: ready", Value::Array(all));
        Ok(())
    })
}

/// Whether an agent with these capabilities becomes ready in time; removes it afterwards.
fn becomes_ready(cluster: &TestCluster, objects: &[Value], added: Vec<Value>) -> Result<bool> {
    let mut objects = objects.to_vec();
    let place = objects.iter_mut().find_map(|object| object.pointer_mut(ADDED));
    *place.context("the manifest adds no capabilities")? = Value::Array(added);
    cluster.client.apply(&objects)?;
    let set = cluster.client.namespaced::<DaemonSet>(NAMESPACE);
    let is_ready = |set: Option<&DaemonSet>| {
        let status = set.and_then(|set| set.status.as_ref());
        status.is_some_and(|status| status.number_ready > 0)
    };
    let ready = match set.wait(AGENT, PATIENCE, "ready", is_ready) {
        Ok(()) => true,
        Err(ClientError::Late { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    cluster.client.delete(&objects)?;
    install::gone(cluster)?;
    Ok(ready)
}
