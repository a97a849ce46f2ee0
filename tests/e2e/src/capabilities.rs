//! `cargo xtask e2e capabilities`: the agent needs every capability that its manifest grants.
//!
//! Capabilities are removed one at a time; without any of them no agent may become ready.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::kubectl::Kubectl;
use testbed::until;
use xtask::build::Profile;
use xtask::command::workspace;

use super::examples::on_own;
use super::install::{self, NAMESPACE};

/// How long to wait for an agent that must not become ready.
const PATIENCE: Duration = Duration::from_secs(15);

/// Installs the agent without each capability in turn, then with all.
pub(super) fn run() -> Result<()> {
    let text = fs::read_to_string(workspace().join(install::MANIFEST))?;
    let line = text.lines().find(|line| line.trim_start().starts_with("add: ["));
    let line = line.context("the manifest adds no capabilities")?;
    let all = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let (all, _) = all.context("not a list of capabilities")?;
    let all: Vec<_> = all.split(',').map(str::trim).collect();
    on_own("capabilities", &testbed::Shape::default(), false, Profile::Release, |cluster| {
        for left_out in &all {
            let rest: Vec<_> = all.iter().filter(|one| one != &left_out).copied().collect();
            let changed = text.replace(&all.join(", "), &rest.join(", "));
            ensure!(changed != text, "{left_out} was not left out");
            let ready = becomes_ready(&cluster.kubectl, &changed)?;
            println!("without {left_out}: {}", if ready { "ready" } else { "not ready" });
            ensure!(!ready, "the agent does not need {left_out}");
        }
        ensure!(becomes_ready(&cluster.kubectl, &text)?, "not ready with all of them");
        println!("with {}: ready", all.join(", "));
        Ok(())
    })
}

/// Whether an agent of this manifest becomes ready in time; removes it afterwards.
fn becomes_ready(kubectl: &Kubectl, manifest: &str) -> Result<bool> {
    kubectl.feed(&["apply", "-f", "-"], manifest)?;
    let end = Instant::now() + PATIENCE;
    let mut ready = false;
    while !ready && Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        let count = "jsonpath={.status.numberReady}";
        let answer =
            kubectl.answer(&["-n", NAMESPACE, "get", "daemonset", "policy-agent", "-o", count])?;
        ready = answer.trim().parse::<u32>().is_ok_and(|count| count > 0);
    }
    kubectl.feed(&["delete", "-f", "-"], manifest)?;
    until("the end of the namespace", || !kubectl.succeeds(&["get", "namespace", NAMESPACE]))?;
    Ok(ready)
}
