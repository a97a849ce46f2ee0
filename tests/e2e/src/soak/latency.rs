//! Time from a write to the API server to the first packet that is judged by it.
//!
//! That is an upper bound of the time to the write of the kernel's map: the packet follows it.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use xtask::image::POD;
use xtask::progress::Progress;

use super::traffic::{NAMESPACE, Traffic, pod, policy};
use crate::NODES;

/// How long a change may take at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Times changes of a policy and of a pod's label, beside `pods` other pods.
pub(super) fn measure(traffic: &Traffic<'_>, pods: u32, changes: u32) -> Result<()> {
    let address = place(traffic, pods)?;
    let (everybody, nobody) = (json!({}), json!({"matchLabels": {"app": "nobody"}}));
    traffic.cluster.client.apply(&[watched(&everybody)])?;
    let watch = Watch::start(traffic, &address)?;
    watch.expect(true)?;
    let mut progress = Progress::start("timing changes", Some((2 * changes).into()));
    let mut of_policy = Vec::new();
    for number in 0..changes {
        let open = number % 2 == 1;
        let start = admit(traffic, if open { &everybody } else { &nobody })?;
        of_policy.push(watch.expect(open)?.saturating_sub(start));
        progress.part("of a policy");
        progress.tick();
    }
    admit(traffic, &json!({"matchLabels": {"may": "yes"}}))?;
    if changes.is_multiple_of(2) {
        // It was open last, and no pod has the label yet.
        watch.expect(false)?;
    }
    let mut of_label = Vec::new();
    for number in 0..changes {
        let open = number % 2 == 0;
        let start = label(traffic, "watcher", if open { "yes" } else { "no" })?;
        of_label.push(watch.expect(open)?.saturating_sub(start));
        progress.part("of a pod's label");
        progress.tick();
    }
    progress.end("done");
    print("change of a policy", of_policy)?;
    print("change of a pod's label", of_label)?;
    let kinds = "app in (crowd,watched,watcher)";
    Ok(traffic.pods.delete_all(kinds)?)
}

/// Allows only the pods of a selector to reach the watched pods; returns the time of the write.
fn admit(traffic: &Traffic<'_>, selector: &Value) -> Result<u128> {
    let policy = watched(selector);
    let policies = traffic.cluster.client.namespaced::<NetworkPolicy>(NAMESPACE);
    let start = now()?;
    policies.patch("watched", &json!({"spec": policy["spec"]}))?;
    Ok(start)
}

/// The policy of the watched pods.
fn watched(selector: &Value) -> Value {
    policy("watched", "watched", &json!([{"podSelector": selector}]))
}

/// Sets the label `may` of a pod; returns the time of the write.
fn label(traffic: &Traffic<'_>, pod: &str, may: &str) -> Result<u128> {
    let start = now()?;
    traffic.pods.patch(pod, &json!({"metadata": {"labels": {"may": may}}}))?;
    Ok(start)
}

/// Nanoseconds since 1970, as the pods print them.
fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

/// Creates the pods; returns the address of the watched one.
fn place(traffic: &Traffic<'_>, pods: u32) -> Result<String> {
    let crowd = (0..pods).map(|number| {
        let node = if number % 2 == 0 { NODES[0] } else { NODES[1] };
        pod(&format!("crowd-{number}"), node, "crowd", &["pause"])
    });
    let crowd: Vec<_> = crowd.collect();
    if !crowd.is_empty() {
        traffic.cluster.client.apply(&crowd)?;
        traffic.addresses("app=crowd")?;
    }
    let server = pod("watched", NODES[0], "watched", &["serve", "80/UDP"]);
    let watcher = pod("watcher", NODES[1], "watcher", &["pause"]);
    traffic.cluster.client.apply(&[server, watcher])?;
    traffic.addresses("app=watcher")?;
    Ok(traffic.addresses("app=watched")?.remove(0))
}

/// A pod that prints when another becomes reachable, and when it is no longer reachable.
struct Watch {
    lines: Receiver<String>,
}

impl Watch {
    fn start(traffic: &Traffic<'_>, address: &str) -> Result<Self> {
        let (program, target) = (format!("/{POD}"), format!("{address}:80"));
        let lines = traffic.pods.lines("watcher", &[&program, "watch", "1", &target])?;
        Ok(Self { lines })
    }

    /// The time of the next change, in nanoseconds since 1970; fails if it is the wrong change.
    fn expect(&self, open: bool) -> Result<u128> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).context("no change was seen")?;
            let Some((word, Ok(at))) = line.split_once(' ').map(|(word, at)| (word, at.parse()))
            else {
                continue;
            };
            ensure!((word == "open") == open, "the pod changed to the wrong state");
            return Ok(at);
        }
    }
}

fn print(what: &str, mut times: Vec<u128>) -> Result<()> {
    ensure!(!times.is_empty(), "nothing was timed");
    times.sort_unstable();
    // A percentile: the time that so many of a hundred do not exceed.
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1] / 1_000_000;
    let (count, half, most, all) = (times.len(), at(50), at(99), at(100));
    println!("{what}: {count} times, p50 {half} ms, p99 {most} ms, longest {all} ms");
    Ok(())
}
