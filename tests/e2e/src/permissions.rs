//! `cargo xtask e2e permissions`: the agent needs every right that its manifest grants, and logs each
//! right that it lacks.
//!
//! Rights are removed one at a time, with an API server that streams lists and with one that does
//! not.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use serde_json::{Value, json};
use testbed::client::{LogParams, is_pod_ready};
use testbed::layout::Layout;
use testbed::{control_plane, until};
use xtask::build::Profile;
use xtask::image::POD_IMAGE;

use super::cluster::{TestCluster, on_own};
use super::examples::define_cluster_policies;
use super::install::{self, AGENTS, NAMESPACE};

/// How long an agent may take to log that it lacks a right.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an Event may take to be written.
const WRITTEN: Duration = Duration::from_secs(5);

/// Makes the API server behave like one before 1.32, which cannot stream lists.
const NO_STREAMS: &str = "--feature-gates=WatchList=false";

/// How the check is run.
#[derive(Args, Clone, Debug)]
pub(crate) struct PermissionsOptions {
    /// Use the debug build of the agent, as the tests do; it compiles faster
    #[arg(long)]
    debug: bool,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// One verb on one kind of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

/// Removes each right in turn, with an API server that streams lists and with one that does not.
pub(super) fn run(options: &PermissionsOptions) -> Result<()> {
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    let shape = testbed::Shape { nodes: 1, ..testbed::Shape::default() };
    on_own("permissions", &shape, options.keep, profile, |cluster| {
        let layout = cluster.local.as_ref().context("the API server is on this machine")?;
        all(layout, cluster)
    })
}

fn all(layout: &Layout, cluster: &TestCluster) -> Result<()> {
    let role = role()?;
    let rights = rights(&role);
    define_cluster_policies(&cluster.client)?;
    cluster.client.apply(&[subject()])?;
    install::agent(cluster)?;
    let (events, reads): (Vec<_>, Vec<_>) =
        rights.iter().partition(|right| right.resource == "events");
    let streaming = noticed(cluster, &role, &rights, &reads)?;
    control_plane::api_server(layout)?.end()?;
    control_plane::start_api_server_with(layout, &[NO_STREAMS])?;
    let listing = noticed(cluster, &role, &rights, &reads)?;
    println!("{:8} {:24} {:24} WITHOUT STREAMED LISTS", "VERB", "RESOURCE", "STREAMED LISTS");
    for ((right, streaming), listing) in reads.iter().zip(&streaming).zip(&listing) {
        let Right { resource, verb, .. } = right;
        let of = |seen: &Option<String>| seen.clone().unwrap_or_else(|| "not missed".to_owned());
        println!("{verb:8} {resource:24} {:24} {}", of(streaming), of(listing));
        ensure!(streaming.is_some() || listing.is_some(), "the agent does not need {right:?}");
    }
    give(cluster, &role, &rights, None)?;
    let with_all = events_of(cluster)?;
    println!("with all rights: {with_all} Events");
    ensure!(with_all > 0, "no Event with all rights");
    for right in events {
        give(cluster, &role, &rights, Some(right))?;
        let without = events_of(cluster)?;
        println!("without {} of {}: {without} Events", right.verb, right.resource);
        ensure!(without < with_all, "the agent does not need {right:?}");
    }
    Ok(())
}

/// For each right in `reads`: what the agent logs without it, if it logs anything.
fn noticed(
    cluster: &TestCluster,
    role: &Value,
    rights: &[Right],
    reads: &[&Right],
) -> Result<Vec<Option<String>>> {
    give(cluster, role, rights, None)?;
    restart(cluster)?;
    install::rolled_out(cluster)?;
    ensure!(complaint(cluster, None)?.is_none(), "a complaint with all rights");
    let one = |right: &&Right| {
        give(cluster, role, rights, Some(right))?;
        restart(cluster)?;
        let (end, mut seen) = (Instant::now() + PATIENCE, None);
        while seen.is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(500));
            seen = complaint(cluster, Some(&right.resource))?;
            // A ready agent has made all its requests.
            if seen.is_none() && is_ready(cluster)? {
                break;
            }
        }
        let state = if is_ready(cluster)? { "ready" } else { "not ready" };
        let said = seen.as_deref().unwrap_or("nothing is logged");
        println!("without {} of {}: {state}: {said}", right.verb, right.resource);
        ensure!(seen.is_some() || state == "ready", "the agent does not log why it is not ready");
        Ok(seen.map(|_| format!("{state}, logged")))
    };
    reads.iter().map(one).collect()
}

/// The message in the agent's log about a broken watch of a kind, or of any kind.
fn complaint(cluster: &TestCluster, kind: Option<&str>) -> Result<Option<String>> {
    let pods = cluster.client.namespaced::<Pod>(NAMESPACE);
    let mut log = String::new();
    for name in agents(cluster)?.keys() {
        match pods.log(name, LogParams::default()) {
            Ok(lines) => log += &lines,
            // A container that is being created has no log, and a pod may have ended meanwhile.
            Err(error) if matches!(error.code(), Some(400 | 404)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut broken = lines.filter(|line| line["level"] == "ERROR").filter_map(|line| {
        // Of the errors, only that of a broken watch has the field `kind`.
        let logged = line["fields"]["kind"].as_str()?;
        let message = line["fields"]["message"].as_str()?;
        kind.is_none_or(|kind| kind == logged).then(|| message.to_owned())
    });
    Ok(broken.next())
}

/// Whether there is exactly one agent, and it is ready.
fn is_ready(cluster: &TestCluster) -> Result<bool> {
    Ok(agents(cluster)?.values().eq(&[true]))
}

/// Names of the agents' pods, and whether they are ready.
fn agents(cluster: &TestCluster) -> Result<BTreeMap<String, bool>> {
    let pods = cluster.client.namespaced::<Pod>(NAMESPACE).list(AGENTS)?;
    let named = |pod: Pod| Some((pod.metadata.name.clone()?, is_pod_ready(&pod)));
    Ok(pods.into_iter().filter_map(named).collect())
}

/// Replaces the agent's pod, so that the new one starts with the present rights.
fn restart(cluster: &TestCluster) -> Result<()> {
    let before = agents(cluster)?;
    for name in before.keys() {
        // The host's port answers for the new pod as long as the old agent runs.
        cluster.client.namespaced::<Pod>(NAMESPACE).end(name)?;
    }
    until("another agent", || {
        agents(cluster)
            .is_ok_and(|now| !now.is_empty() && now.keys().all(|name| !before.contains_key(name)))
    })
}

/// How many Events the agent writes about a policy that cannot be expressed.
fn events_of(cluster: &TestCluster) -> Result<usize> {
    restart(cluster)?;
    install::rolled_out(cluster)?;
    let events = cluster.client.namespaced::<Event>("default");
    events.delete_all("")?;
    let policy = [inexpressible()];
    cluster.client.apply(&policy)?;
    thread::sleep(WRITTEN);
    let written = events.list("")?;
    cluster.client.delete(&policy)?;
    let about = written.iter().filter(|event| event.reason.as_deref() == Some("NotExpressible"));
    Ok(about.count())
}

fn role() -> Result<Value> {
    let role = install::objects(install::MANIFEST)?
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole");
    role.context("the manifest has no ClusterRole")
}

/// The rights of a role, one for each verb and kind.
fn rights(role: &Value) -> Vec<Right> {
    let texts = |list: &Value| -> Vec<String> {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let (group, resource) = (group.clone(), resource.clone());
                    rights.push(Right { group, resource, verb });
                }
            }
        }
    }
    rights
}

/// Grants the agents all rights except one.
fn give(cluster: &TestCluster, role: &Value, rights: &[Right], but: Option<&Right>) -> Result<()> {
    let rest = rights.iter().filter(|right| Some(*right) != but);
    let rules = rest.map(|Right { group, resource, verb }| {
        json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
    });
    let mut role = role.clone();
    role["rules"] = rules.collect();
    Ok(cluster.client.apply(&[role])?)
}

/// A pod that cluster-wide policies isolate.
fn subject() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "subject", "namespace": "default"},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "pod", "image": POD_IMAGE, "imagePullPolicy": "IfNotPresent"}],
        },
    })
}

/// A policy that has a fault.
fn inexpressible() -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "names"},
        "spec": {
            "tier": "Admin",
            "priority": 10,
            "subject": {"namespaces": {}},
            "egress": [{"action": "Accept", "to": [{"domainNames": ["example.com"]}]}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_of_the_manifest_gives_what_is_left_out_by_itself() -> Result<()> {
        let rights = rights(&role()?);
        let has = |resource: &str, verb: &str| {
            rights.iter().any(|right| right.resource == resource && right.verb == verb)
        };
        assert!(has("pods", "watch") && has("networkpolicies", "list") && has("events", "create"));
        assert!(!has("events", "list") && !has("secrets", "get"), "{rights:?}");
        Ok(())
    }
}
