//! Many pods that are made at once and removed at once.

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
use crate::metrics::{self, Samples, Times};

const NODES: [&str; 2] = ["node1", "node2"];

/// Pods that fill what is kept for the next ones.
const FEW: u32 = 4;

/// How long all of it may take in each direction.
const PATIENCE: Duration = Duration::from_mins(10);

/// Name of the `Deployment`, of its policy, and of who tries to reach its pods.
const NAME: &str = "burst";
const PROBER: &str = "burst-prober";

/// Scales a `Deployment` under a policy from nothing to `count` pods and back: all must come under
/// the policy, and nothing of them may stay.
pub(super) fn there_and_gone(layout: &Layout, kubectl: &Kubectl, count: u32) -> Result<()> {
    kubectl.apply(&[
        // An empty list would admit everybody.
        policy(NAME, NAME, &json!([{"podSelector": {"matchLabels": {"app": "nobody"}}}])),
        deployment(),
        pod(PROBER, "node1", PROBER, &["pause"]),
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

/// Waits until so many pods are under control and no other is there; how long that takes.
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
                    "an agent answered no question for {:.1} s at most",
                    longest.as_secs_f64()
                );
                return Ok(start.elapsed());
            }
        }
        // One that has too much to do answers later.
        ensure!(
            start.elapsed() < PATIENCE,
            "not {count} pods enforced: {:?}",
            self::samples(layout)
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Fails where a pod answers though nobody may reach it, or where it dropped nothing.
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
    println!("{silent} pods tried, none answers, each by a packet that was counted as dropped");
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
    // The scheduler's choice.
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
