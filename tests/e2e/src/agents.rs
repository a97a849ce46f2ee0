//! The agents' processes, as this machine sees them.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill as kill_with};
use nix::unistd::Pid;

use crate::cluster::layout::Layout;
use crate::cluster::{network, process};
use crate::command::answer;

/// What an agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Kibibytes that are resident.
    pub(super) memory: u64,
    pub(super) descriptors: u64,
}

/// Numbers that nobody needs to repeat.
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new() -> Self {
        Self { state: RandomState::new().build_hasher().finish() }
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // Knuth's generator (MMIX); its high bits are good enough.
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % limit
    }
}

/// Kills the agent of a node, if there is one at the moment.
pub(super) fn kill(layout: &Layout, node: &str) -> Result<bool> {
    let found = find(layout, node)?;
    if let Some(pid) = found {
        process::end(pid);
    }
    Ok(found.is_some())
}

/// Sends the agent of a node a signal.
pub(super) fn signal(layout: &Layout, node: &str, signal: Signal) -> Result<()> {
    let pid = find(layout, node)?.with_context(|| format!("no agent on {node}"))?;
    kill_with(Pid::from_raw(pid), signal).with_context(|| format!("no {signal} for {pid}"))
}

/// Whether no agent runs on any of these nodes.
pub(super) fn are_gone(layout: &Layout, nodes: &[&str]) -> bool {
    nodes.iter().all(|node| matches!(find(layout, node), Ok(None)))
}

/// Clock ticks (`CLK_TCK`) that the agent of a node has spent, and bytes that its connections to
/// the API server have received. Those that have ended are not counted.
pub(super) fn spent(layout: &Layout, node: &str) -> Result<(u64, u64)> {
    let pid = find(layout, node)?.with_context(|| format!("no agent on {node}"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // utime and stime are fields 14 and 15; the second, a name in parentheses, may have blanks.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    let ticks = fields.context("not a process")?.skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    let mut ss = network::inside(layout, node);
    let sockets =
        answer(ss.args(["ss", "--tcp", "--info", "--processes", "--no-header", "--oneline"]));
    let sockets = sockets.context("ss tells nothing")?;
    let own = format!("pid={pid},");
    let received = sockets.lines().filter(|line| line.contains(&own)).filter_map(|line| {
        let (_, rest) = line.split_once("bytes_received:")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok((ticks, received.sum()))
}

/// What the agent of a node holds.
pub(super) fn held(layout: &Layout, node: &str) -> Result<Held> {
    let pid = find(layout, node)?.with_context(|| format!("no agent on {node}"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    Ok(Held { memory: memory.context("no VmRSS")?, descriptors })
}

/// Kills every process of a pod, the one that keeps its namespaces too.
pub(super) fn kill_pod(uid: &str) -> Result<()> {
    for pid in all()? {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if groups.contains(uid) {
            process::end(pid);
        }
    }
    Ok(())
}

/// The agent of a node: it runs in the node's own network.
fn find(layout: &Layout, node: &str) -> Result<Option<i32>> {
    let own = fs::metadata(format!("/run/netns/{}", layout.prefixed(node)))?.ino();
    let is_agent = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let network = fs::metadata(format!("/proc/{pid}/ns/net")).map(|network| network.ino());
        line.starts_with(b"/policy-agent\0run\0") && network.is_ok_and(|network| network == own)
    };
    Ok(all()?.into_iter().find(is_agent))
}

fn all() -> Result<Vec<i32>> {
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}
