//! Pods that come and go, and whether anything of them stays.

use anyhow::{Context, Result, ensure};
use testbed::kubectl::Kubectl;
use testbed::layout::Layout;
use testbed::{node, until};
use xtask::command::answer;

use super::field::{NAMESPACE, pod, policy};
use crate::agents::{self, Held};

/// Pods that are there at once, on each node.
const BATCH: u32 = 20;

/// Kibibytes by which the agent's memory may differ: its allocator keeps what it has had.
const SLACK: u64 = 16 * 1024;

/// What is held on a node for the pods there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pins: usize,
    maps: usize,
    agent: Held,
}

/// Makes and removes `count` pods under a policy, some at once; fails where something has grown.
pub(super) fn churn(layout: &Layout, kubectl: &Kubectl, count: u32) -> Result<()> {
    kubectl.apply(&[policy("passers", "passer", &serde_json::json!([]))])?;
    // The first batch fills what is kept for the next ones.
    batch(kubectl)?;
    let before = levels(layout)?;
    for _ in 0..count.div_ceil(2 * BATCH) {
        batch(kubectl)?;
    }
    is_back_at(layout, &before)?;
    kubectl.answer(&["delete", "networkpolicy", "-n", NAMESPACE, "passers"]).map(drop)
}

/// Fails where something has grown.
pub(super) fn is_back_at(layout: &Layout, before: &[Level]) -> Result<()> {
    let mut after = levels(layout)?;
    let is_level = |after: &[Level]| {
        before
            .iter()
            .zip(after)
            .all(|(before, after)| (before.pins, before.maps) == (after.pins, after.maps))
    };
    // What is removed last is removed soon.
    until("the end of what belonged to pods", || {
        after = levels(layout).unwrap_or_default();
        after.len() == before.len() && is_level(&after)
    })
    .with_context(|| format!("before {before:?}, after {after:?}"))?;
    for (before, after) in before.iter().zip(&after) {
        println!("before {before:?}\nafter  {after:?}");
        ensure!(after.agent.descriptors <= before.agent.descriptors + 2, "descriptors have grown");
        ensure!(after.agent.memory <= before.agent.memory + SLACK, "memory has grown");
    }
    Ok(())
}

fn batch(kubectl: &Kubectl) -> Result<()> {
    let pods = (0..BATCH).flat_map(|number| {
        ["node1", "node2"].map(|node| {
            pod(&format!("passer-{node}-{number}"), node, "passer", &["serve", "80/TCP"])
        })
    });
    kubectl.apply(&pods.collect::<Vec<_>>())?;
    let here = ["-n", NAMESPACE, "-l", "app=passer"];
    kubectl.answer(
        &[&["wait", "pods", "--for=condition=Ready", "--timeout=300s"], &here[..]].concat(),
    )?;
    let gone = ["delete", "pods", "--grace-period=0", "--force", "--wait=true"];
    kubectl.answer(&[&gone[..], &here[..]].concat()).map(drop)
}

/// What is held on each node.
pub(super) fn levels(layout: &Layout) -> Result<Vec<Level>> {
    ["node1", "node2"].into_iter().map(|name| level(layout, name)).collect()
}

fn level(layout: &Layout, name: &str) -> Result<Level> {
    let mut find = node::inside(layout, name)?;
    let pins = answer(find.args(["find", "/sys/fs/bpf/policy", "-type", "f"]));
    let pins = pins.context("no pins")?;
    // Every map of the agent, inner ones too, is pinned; so its pins name its maps.
    let maps = pins.lines().filter(|pin| !pin.contains("/links/")).count();
    Ok(Level { pins: pins.lines().count(), maps, agent: agents::held(layout, name)? })
}
