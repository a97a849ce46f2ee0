//! Time from a write to the API server to the first packet that is judged by it.
//!
//! That is an upper bound of the time to the write of the kernel's map: the packet follows it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::image::POD;

use super::field::{Field, NAMESPACE, pod, policy};
use crate::NODES;
use crate::api::Api;

/// How long a change may take at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Times changes of a policy and of a pod's label, beside `pods` other pods.
pub(super) fn measure(field: &Field<'_>, pods: u32, changes: u32) -> Result<()> {
    let address = place(field, pods)?;
    let api = Api::open(field.kubectl)?;
    let (everybody, nobody) = (json!({}), json!({"matchLabels": {"app": "nobody"}}));
    admit(&api, &everybody)?;
    let watch = Watch::start(field, &address)?;
    watch.expect(true)?;
    let mut of_policy = Vec::new();
    for number in 0..changes {
        let open = number % 2 == 1;
        let start = admit(&api, if open { &everybody } else { &nobody })?;
        of_policy.push(watch.expect(open)?.saturating_sub(start));
    }
    print("change of a policy", of_policy)?;
    admit(&api, &json!({"matchLabels": {"may": "yes"}}))?;
    if changes.is_multiple_of(2) {
        // It was open last, and no pod has the label yet.
        watch.expect(false)?;
    }
    let mut of_label = Vec::new();
    for number in 0..changes {
        let open = number % 2 == 0;
        let start = label(&api, "watcher", if open { "yes" } else { "no" })?;
        of_label.push(watch.expect(open)?.saturating_sub(start));
    }
    print("change of a pod's label", of_label)?;
    let kinds = "app in (crowd,watched,watcher)";
    let gone = ["delete", "pods", "-n", NAMESPACE, "-l", kinds, "--grace-period=0", "--force"];
    field.kubectl.answer(&gone).map(drop)
}

/// Allows only the pods of a selector to reach the watched pods; returns the time of the write.
fn admit(api: &Api, selector: &Value) -> Result<u128> {
    let path = format!(
        "/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/watched\
         ?fieldManager=soak&force=true"
    );
    let policy = policy("watched", "watched", &json!([{"podSelector": selector}]));
    api.patch(&path, "application/apply-patch+yaml", &policy)
}

/// Sets the label `may` of a pod; returns the time of the write.
fn label(api: &Api, pod: &str, may: &str) -> Result<u128> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}");
    let change = json!({"metadata": {"labels": {"may": may}}});
    api.patch(&path, "application/merge-patch+json", &change)
}

/// Creates the pods; returns the address of the watched one.
fn place(field: &Field<'_>, pods: u32) -> Result<String> {
    let crowd = (0..pods).map(|number| {
        let node = if number % 2 == 0 { NODES[0] } else { NODES[1] };
        pod(&format!("crowd-{number}"), node, "crowd", &["pause"])
    });
    let crowd: Vec<_> = crowd.collect();
    if !crowd.is_empty() {
        field.kubectl.apply(&crowd)?;
        field.addresses("app=crowd")?;
    }
    let server = pod("watched", NODES[0], "watched", &["serve", "80/UDP"]);
    field.kubectl.apply(&[server, pod("watcher", NODES[1], "watcher", &["pause"])])?;
    field.addresses("app=watcher")?;
    Ok(field.addresses("app=watched")?.remove(0))
}

/// A pod that prints when another becomes reachable, and when it is no longer reachable.
struct Watch {
    exec: Child,
    turns: Receiver<(bool, u128)>,
}

impl Watch {
    fn start(field: &Field<'_>, address: &str) -> Result<Self> {
        let (program, target) = (format!("/{POD}"), format!("{address}:80"));
        let mut exec = field.kubectl.command();
        exec.args(["exec", "-n", NAMESPACE, "watcher", "--", &program, "watch", "1", &target]);
        let mut exec = exec.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(exec.stdout.take().context("no output")?).lines();
        let (sender, turns) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let turn = line.split_once(' ');
                let Some((word, Ok(at))) = turn.map(|(word, at)| (word, at.parse())) else {
                    continue;
                };
                if sender.send((word == "open", at)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { exec, turns })
    }

    /// The time of the next change, in nanoseconds since 1970; fails if it is the wrong change.
    fn expect(&self, open: bool) -> Result<u128> {
        let (is_open, at) = self.turns.recv_timeout(PATIENCE).context("no change was seen")?;
        ensure!(is_open == open, "the pod changed to the wrong state");
        Ok(at)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.exec.kill();
        let _ = self.exec.wait();
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
