//! Many pods that are created at once and removed at once.
//!
//! The agents' metrics show when all are enforced; then a pod tries to reach each of them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::kubectl::Kubectl;
use testbed::layout::Layout;
use xtask::image::POD;

use super::field::{NAMESPACE, pod, policy};
use super::growth;
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
pub(super) fn there_and_gone(layout: &Layout, kubectl: &Kubectl, count: u32) -> Result<()> {
    kubectl.apply(&[
        // An empty list would allow every peer.
        policy(NAME, NAME, &json!([{"podSelector": {"matchLabels": {"app": "nobody"}}}])),
        deployment(),
        pod(PROBER, NODES[0], PROBER, &["pause"]),
    ])?;
    kubectl.answer(&[
        "wait",
        "pod",
        "-n",
        NAMESPACE,
        PROBER,
        "--for=condition=Ready",
        "--timeout=120s",
    ])?;
    let alone = enforced(layout)?;
    scale(kubectl, FEW)?;
    reaches(layout, alone + f64::from(FEW))?;
    scale(kubectl, 0)?;
    reaches(layout, alone)?;
    let before = growth::levels(layout)?;
    let waited = waited(layout)?;

    let start = Instant::now();
    scale(kubectl, count)?;
    let took = reaches(layout, alone + f64::from(count))?;
    let all = format!("--for=jsonpath={{.status.readyReplicas}}={count}");
    let deployment = format!("deployment/{NAME}");
    kubectl.answer(&["wait", "-n", NAMESPACE, &deployment, &all, "--timeout=600s"])?;
    println!(
        "{count} pods: all under their policies after {:.1} s, all ready after {:.1} s",
        took.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    let waited = self::waited(layout)?.since(&waited);
    println!("from interface to enforcement: {}", metrics::text(&waited));
    none_answers(layout, kubectl, count)?;

    scale(kubectl, 0)?;
    let took = reaches(layout, alone)?;
    println!("{count} pods: nothing enforced for them any more after {:.1} s", took.as_secs_f64());
    growth::is_back_at(layout, &before)?;
    let gone = ["delete", "-n", NAMESPACE, &deployment, "networkpolicy/burst", "pod/burst-prober"];
    kubectl.answer(&[&gone[..], &["--grace-period=0", "--force"]].concat()).map(drop)
}

fn scale(kubectl: &Kubectl, count: u32) -> Result<()> {
    let (deployment, replicas) = (format!("deployment/{NAME}"), format!("--replicas={count}"));
    kubectl.answer(&["scale", "-n", NAMESPACE, &deployment, &replicas]).map(drop)
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
fn none_answers(layout: &Layout, kubectl: &Kubectl, count: u32) -> Result<()> {
    let pods = kubectl.json(&["get", "pods", "-n", NAMESPACE, "-l", "app=burst"])?;
    let pods = pods["items"].as_array().into_iter().flatten();
    let pods: BTreeMap<_, _> = pods
        .filter_map(|pod| {
            Some((pod["metadata"]["name"].as_str()?, pod["status"]["podIP"].as_str()?))
        })
        .collect();
    ensure!(pods.len() == usize::try_from(count)?, "{} pods", pods.len());
    let lines: Vec<_> =
        pods.iter().map(|(name, address)| format!("{name} TCP {address}:80")).collect();
    let program = format!("/{POD}");
    let probe = ["exec", "-i", "-n", NAMESPACE, PROBER, "--", &program, "probe", "2500"];
    let seen = kubectl.feed(&probe, &lines.join("\n"))?;
    let silent = seen.lines().filter(|line| line.ends_with(" silent")).count();
    ensure!(silent == pods.len(), "{silent} of {} pods are silent", pods.len());
    let samples = samples(layout)?;
    for name in pods.keys() {
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
    let template = pod(NAME, "", NAME, &["serve", "80/TCP"]);
    let (labels, mut spec) = (template["metadata"]["labels"].clone(), template["spec"].clone());
    // The scheduler chooses the node.
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("nodeName");
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}
