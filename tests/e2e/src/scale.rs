//! `cargo xtask e2e scale`: memory, traffic and CPU time of an agent for each pod of a cluster.
//!
//! The pods are objects of a real API server, with the status that a kubelet would write; no node
//! runs them, as an agent sees nearly all pods of a large cluster. Printed are the differences between
//! two moments at which the agent is idle, divided by the number of pods.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use serde_json::{Value, json};
use testbed::layout::Layout;
use testbed::until;
use xtask::build::Profile;
use xtask::progress::Progress;

use super::NODES;
use super::agents::{self, ResourceUse};
use super::cluster::{TestCluster, on_own};
use super::install;

const NAMESPACE: &str = "scale";
const NODE: &str = NODES[0];
/// Writes at the same time.
const WRITERS: usize = 4;
/// How long an agent must be idle before it is measured.
const REST: Duration = Duration::from_secs(3);
/// Clock ticks in a second (`sysconf(_SC_CLK_TCK)`).
const TICKS: u64 = 100;

/// How many pods, and on which cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleOptions {
    #[command(flatten)]
    shape: testbed::Shape,
    /// Pods
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pods: u32,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// Memory, CPU time and traffic of an agent at one moment.
#[derive(Clone, Copy, Debug)]
struct AgentUse {
    held: ResourceUse,
    ticks: u64,
    received: u64,
}

/// Measures on a cluster of its own.
pub(super) fn run(options: &ScaleOptions) -> Result<()> {
    let (shape, pods) = (&options.shape, options.pods);
    on_own("scale", shape, options.keep, Profile::Release, |cluster| measure(cluster, pods))
}

fn measure(cluster: &TestCluster, pods: u32) -> Result<()> {
    let layout = cluster.local.as_ref().context("the agents' processes are on this machine")?;
    let client = &cluster.client;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    client.apply(&[namespace, isolation()])?;
    let accounts = client.namespaced::<ServiceAccount>(NAMESPACE);
    until("the namespace's account", || accounts.exists("default").is_ok_and(|exists| exists))?;
    install::agent(cluster)?;
    let pods_there = client.namespaced::<Pod>(NAMESPACE);
    let none = at_rest(layout)?;
    each("creating pods", pods, |number| {
        pods_there.create(&pod(number))?;
        Ok(pods_there.patch_status(&name(number), &status(number))?)
    })?;
    let made = at_rest(layout)?;
    print("made and given their status (2 events each)", pods, none, made);
    each("changing labels of pods", pods, |number| {
        let change = json!({"metadata": {"labels": {"generation": "2"}}});
        Ok(pods_there.patch(&name(number), &change)?)
    })?;
    let changed = at_rest(layout)?;
    print("a label that no policy names changes (1 event each)", pods, made, changed);
    let start = Instant::now();
    let sets = client.namespaced::<DaemonSet>(install::NAMESPACE);
    sets.patch(install::AGENT, &install::annotated("restarted"))?;
    install::rolled_out(cluster)?;
    println!(
        "restarted, and enforcing again on all nodes after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let zero = AgentUse { held: ResourceUse { memory: 0, descriptors: 0 }, ticks: 0, received: 0 };
    print("a list of all, at the start", pods, zero, at_rest(layout)?);
    Ok(())
}

/// Calls `act` for every number, several at the same time.
fn each(what: &str, count: u32, act: impl Fn(u32) -> Result<()> + Sync) -> Result<()> {
    let progress = Mutex::new(Progress::start(what, Some(count.into())));
    let act = |number| -> Result<()> {
        act(number)?;
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.part(&name(number));
        progress.tick();
        Ok(())
    };
    thread::scope(|scope| {
        let act = &act;
        let writers: Vec<_> = (0..count)
            .take(WRITERS)
            .map(|first| scope.spawn(move || (first..count).step_by(WRITERS).try_for_each(act)))
            .collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).end("done");
    Ok(())
}

/// Waits until the agent is idle, and returns its level.
fn at_rest(layout: &Layout) -> Result<AgentUse> {
    let mut progress = Progress::start("waiting until the agent is idle", None);
    let mut last = agents::spent(layout, NODE)?;
    for _ in 0..100 {
        progress.sleep(REST);
        let now = agents::spent(layout, NODE)?;
        if now.0 - last.0 < TICKS / 10 && now.1 - last.1 < 100_000 {
            progress.end("done");
            return Ok(AgentUse {
                held: agents::resource_use(layout, NODE)?,
                ticks: now.0,
                received: now.1,
            });
        }
        last = now;
    }
    bail!("the agent did not become idle")
}

fn print(what: &str, pods: u32, before: AgentUse, after: AgentUse) {
    let each = |all: u64| all / u64::from(pods);
    let received = after.received.saturating_sub(before.received);
    let micros = (after.ticks - before.ticks) * 1_000_000 / TICKS;
    let memory = after.held.memory.saturating_sub(before.held.memory) * 1024;
    println!(
        "{what}: {pods} pods, {} MB resident ({} bytes more a pod), {} MB received ({} bytes a pod), {} ms of CPU ({} us a pod)",
        after.held.memory / 1000,
        each(memory),
        received / 1_000_000,
        each(received),
        micros / 1000,
        each(micros),
    );
}

fn name(number: u32) -> String {
    format!("web-7d9c6b8f5d-{number:05}")
}

/// A policy that every pod counts for.
fn isolation() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
        },
    })
}

/// A pod as a Deployment makes them.
fn pod(number: u32) -> Value {
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10, "failureThreshold": 3});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(number),
            "generateName": "web-7d9c6b8f5d-",
            "namespace": NAMESPACE,
            "labels": {
                "app": "web",
                "app.kubernetes.io/name": "web",
                "app.kubernetes.io/instance": "web-production",
                "app.kubernetes.io/version": "1.24.3",
                "app.kubernetes.io/managed-by": "Helm",
                "pod-template-hash": "7d9c6b8f5d",
            },
            "annotations": {
                "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "9100",
            },
        },
        "spec": {
            // No scheduler has this name, so the pod stays without a node.
            "schedulerName": "none",
            "containers": [{
                "name": "web",
                "image": "registry.example.com/shop/web:1.24.3",
                "ports": [
                    {"name": "http", "containerPort": 8080},
                    {"name": "metrics", "containerPort": 9100},
                ],
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "DATABASE_URL", "value": "postgres://db.shop.svc:5432/shop"},
                ],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"memory": "256Mi"},
                },
                "readinessProbe": probe,
                "livenessProbe": probe,
            }],
        },
    })
}

/// A status as a kubelet writes it.
fn status(number: u32) -> Value {
    let [.., high, low] = number.to_be_bytes();
    let address = format!("10.128.{high}.{low}");
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let conditions =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    json!({
        "phase": "Running",
        "conditions": conditions.map(condition),
        "hostIP": "192.168.0.1",
        "hostIPs": [{"ip": "192.168.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": [{
            "name": "web",
            "state": {"running": {"startedAt": now}},
            "lastState": {},
            "ready": true,
            "restartCount": 0,
            "started": true,
            "image": "registry.example.com/shop/web:1.24.3",
            "imageID": "registry.example.com/shop/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "containerID": "containerd://9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        }],
        "qosClass": "Burstable",
    })
}
