//! Pods that are created and removed many times, and whether anything of them is left.
//!
//! Counted on each node are pins, maps, and the agent's memory and descriptors, before and after.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use testbed::client::Client;
use testbed::layout::Layout;
use testbed::{node, until};
use xtask::command::answer;
use xtask::progress::Progress;

use super::traffic::{NAMESPACE, START, pod, policy};
use crate::NODES;
use crate::agents::{self, ResourceUse};

/// Pods that are there at once, on each node.
const BATCH: u32 = 20;

/// Kibibytes by which the agent's memory may grow: the allocator keeps freed memory.
const SLACK: u64 = 16 * 1024;

/// What is held on a node for the pods there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeHoldings {
    pins: usize,
    maps: usize,
    agent: ResourceUse,
}

/// Creates and removes `count` pods under a policy, in batches; fails if something has grown.
pub(super) fn churn(layout: &Layout, client: &Client, count: u32) -> Result<()> {
    client.apply(&[policy("passers", "passer", &serde_json::json!([]))])?;
    // The first batch fills caches that the next ones reuse.
    batch(client)?;
    let before = settled(layout)?;
    let batches = count.div_ceil(2 * BATCH);
    let mut progress =
        Progress::start("creating and removing pods", Some((2 * BATCH * batches).into()));
    for _ in 0..batches {
        batch(client)?;
        progress.advance((2 * BATCH).into(), "pods");
        progress.tick();
    }
    progress.end("done");
    is_back_at(layout, &before)?;
    Ok(client.namespaced::<NetworkPolicy>(NAMESPACE).delete("passers")?)
}

/// Fails if something has grown.
pub(super) fn is_back_at(layout: &Layout, before: &[NodeHoldings]) -> Result<()> {
    let mut after = levels(layout)?;
    // The agent removes the last pods' maps a moment after the pods.
    until("the removal of the pods' pins and maps", || {
        after = levels(layout).unwrap_or_default();
        has_same_pins(before, &after)
    })
    .with_context(|| format!("before {before:?}, after {after:?}"))?;
    for (before, after) in before.iter().zip(&after) {
        println!("before {before:?}\nafter  {after:?}");
        ensure!(after.agent.descriptors <= before.agent.descriptors + 2, "descriptors have grown");
        ensure!(after.agent.memory <= before.agent.memory + SLACK, "memory has grown");
    }
    Ok(())
}

fn batch(client: &Client) -> Result<()> {
    let pods = (0..BATCH).flat_map(|number| {
        NODES.map(|node| {
            pod(&format!("passer-{node}-{number}"), node, "passer", &["serve", "80/TCP"])
        })
    });
    client.apply(&pods.collect::<Vec<_>>())?;
    let pods = client.namespaced::<Pod>(NAMESPACE);
    pods.ready("app=passer", START)?;
    Ok(pods.delete_all("app=passer")?)
}

/// What is held on each node, once the agents have removed what belonged to deleted pods.
fn settled(layout: &Layout) -> Result<Vec<NodeHoldings>> {
    let mut last = Vec::new();
    until("the same pins and maps for a second", || {
        let before = std::mem::replace(&mut last, levels(layout).unwrap_or_default());
        let is_settled = !last.is_empty() && has_same_pins(&before, &last);
        thread::sleep(Duration::from_secs(1));
        is_settled
    })?;
    levels(layout)
}

fn has_same_pins(before: &[NodeHoldings], after: &[NodeHoldings]) -> bool {
    let pins = |level: &NodeHoldings| (level.pins, level.maps);
    before.iter().map(pins).eq(after.iter().map(pins))
}

/// What is held on each node.
pub(super) fn levels(layout: &Layout) -> Result<Vec<NodeHoldings>> {
    NODES.into_iter().map(|name| level(layout, name)).collect()
}

fn level(layout: &Layout, name: &str) -> Result<NodeHoldings> {
    let mut find = node::inside(layout, name)?;
    let pins = answer(find.args(["find", "/sys/fs/bpf/policy", "-type", "f"]));
    let pins = pins.context("no pins")?;
    // Every map of the agent is pinned, inner maps too, so counting pins counts maps.
    let maps = pins.lines().filter(|pin| !pin.contains("/links/")).count();
    Ok(NodeHoldings {
        pins: pins.lines().count(),
        maps,
        agent: agents::resource_use(layout, name)?,
    })
}
