//! Many pods that are created at once and removed at once.
//!
//! The agents' metrics show when all are enforced; then a pod tries to reach each of them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;
use testbed::client::{Client, Objects};
use testbed::layout::Layout;
use xtask::image::POD;

use super::growth;
use super::traffic::{NAMESPACE, START, pod, policy, template};
use crate::NODES;
use crate::metrics::{self, Samples, Times};

/// Pods of the first round, which fills caches that later rounds reuse.
const FEW: u32 = 4;

/// How long creating all pods, or removing them, may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Name of the `Deployment` and of its policy.
const NAME: &str = "burst";
/// Name of the pod that tries to reach its pods.
const PROBER: &str = "burst-prober";

/// Scales a `Deployment` under a policy from 0 to `count` pods and back: every pod must be enforced,
/// and afterwards nothing may be left of them.
pub(super) fn there_and_gone(layout: &Layout, client: &Client, count: u32) -> Result<()> {
    let (pods, deployments) = (client.namespaced::<Pod>(NAMESPACE), client.namespaced(NAMESPACE));
    let scale = |count| deployments.patch(NAME, &json!({"spec": {"replicas": count}}));
    client.apply(&[
        // An empty list would allow every peer.
        policy(NAME, NAME, &json!([{"podSelector": {"matchLabels": {"app": "nobody"}}}])),
        deployment(),
        pod(PROBER, NODES[0], PROBER, &["pause"]),
    ])?;
    pods.ready(&format!("app={PROBER}"), START)?;
    let alone = enforced(layout)?;
    scale(FEW)?;
    reaches(layout, alone + f64::from(FEW))?;
    scale(0)?;
    reaches(layout, alone)?;
    let before = growth::levels(layout)?;
    let waited = waited(layout)?;

    let start = Instant::now();
    scale(count)?;
    let took = reaches(layout, alone + f64::from(count))?;
    let all_ready = move |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        let ready = status.and_then(|status| status.ready_replicas);
        ready.is_some_and(|ready| i64::from(ready) == i64::from(count))
    };
    deployments.wait(NAME, PATIENCE, "ready", all_ready)?;
    println!(
        "{count} pods: all under their policies after {:.1} s, all ready after {:.1} s",
        took.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    let waited = self::waited(layout)?.since(&waited);
    println!("from interface to enforcement: {}", metrics::text(&waited));
    none_answers(layout, &pods, count)?;

    scale(0)?;
    let took = reaches(layout, alone)?;
    println!("{count} pods: nothing enforced for them any more after {:.1} s", took.as_secs_f64());
    growth::is_back_at(layout, &before)?;
    deployments.delete(NAME)?;
    client.namespaced::<NetworkPolicy>(NAMESPACE).delete(NAME)?;
    Ok(pods.delete(PROBER)?)
}

/// Waits until exactly `count` pods are enforced and no pod waits; returns how long that took.
fn reaches(layout: &Layout, count: f64) -> Result<Duration> {
    let start = Instant::now();
    let mut answered = start;
    let mut longest = Duration::ZERO;
    loop {
        let samples = samples(layout);
        longest = longest.max(answered.elapsed());
        if let Ok(samples) = samples {
            answered = Instant::now();
            let of = |state: &str| -> f64 {
                samples.iter().map(|node| node.sum("policy_pods", &[&format!("\"{state}\"")])).sum()
            };
            if (of("enforced") - count).abs() < 0.5 && of("not_enforced") < 0.5 {
                println!(
                    "longest time without an answer of an agent: {:.1} s",
                    longest.as_secs_f64()
                );
                return Ok(start.elapsed());
            }
        }
        // A busy agent answers later.
        ensure!(
            start.elapsed() < PATIENCE,
            "not {count} pods enforced: {:?}",
            self::samples(layout)
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Fails if a pod answers although no peer is allowed, or if no dropped packet was counted for it.
fn none_answers(layout: &Layout, pods: &Objects<Pod>, count: u32) -> Result<()> {
    let all = pods.list(&format!("app={NAME}"))?.into_iter();
    let all: BTreeMap<_, _> =
        all.filter_map(|pod| Some((pod.metadata.name?, pod.status?.pod_ip?))).collect();
    ensure!(all.len() == usize::try_from(count)?, "{} pods", all.len());
    let lines: Vec<_> =
        all.iter().map(|(name, address)| format!("{name} TCP {address}:80")).collect();
    let program = format!("/{POD}");
    let seen = pods.run(PROBER, &[&program, "probe", "2500"], &lines.join("\n"))?;
    let silent = seen.lines().filter(|line| line.ends_with(" silent")).count();
    ensure!(silent == all.len(), "{silent} of {} pods are silent", all.len());
    let samples = samples(layout)?;
    for name in all.keys() {
        let label = format!("pod=\"{name}\"");
        let drops: f64 = samples.iter().map(|node| node.sum("policy_drops_total", &[&label])).sum();
        ensure!(drops > 0.0, "no dropped packet of {name} was counted");
    }
    println!("{silent} pods tried, none answers, and a dropped packet was counted for each");
    Ok(())
}

fn samples(layout: &Layout) -> Result<Vec<Samples>> {
    NODES.iter().map(|node| metrics::of(layout, node)).collect()
}

fn enforced(layout: &Layout) -> Result<f64> {
    Ok(samples(layout)?.iter().map(|node| node.sum("policy_pods", &["\"enforced\""])).sum())
}

fn waited(layout: &Layout) -> Result<Times> {
    let all = samples(layout)?
        .iter()
        .fold(Times::default(), |all, node| all.and(&node.times("policy_interface_wait_seconds")));
    Ok(all)
}

fn deployment() -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": NAME}},
            "template": template(NAME, &["serve", "80/TCP"]),
        },
    })
}
