//! The agents' processes, seen from this machine.
//!
//! All nodes are namespaces of this machine, so each agent is one of its processes. It is found by its
//! command line and by the node's network namespace, and can be killed, paused and measured.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill as kill_with};
use nix::unistd::Pid;
use procfs::process::Process;
use testbed::layout::Layout;
use testbed::{network, process};
use xtask::command::answer;

/// Memory and descriptors of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceUse {
    /// Resident memory in kibibytes.
    pub(super) memory: u64,
    pub(super) descriptors: u64,
}

/// Kills the agent of a node; returns whether there was one.
pub(super) fn kill(layout: &Layout, node: &str) -> Result<bool> {
    let found = find(layout, node)?;
    if let Some(agent) = &found {
        process::end(agent.pid);
    }
    Ok(found.is_some())
}

/// Sends the agent of a node a signal.
pub(super) fn signal(layout: &Layout, node: &str, signal: Signal) -> Result<()> {
    let pid = agent(layout, node)?.pid;
    kill_with(Pid::from_raw(pid), signal)
        .with_context(|| format!("cannot send {signal} to process {pid}"))
}

/// Whether no agent runs on any of these nodes.
pub(super) fn are_gone(layout: &Layout, nodes: &[&str]) -> bool {
    nodes.iter().all(|node| matches!(find(layout, node), Ok(None)))
}

/// Clock ticks (`CLK_TCK`) of CPU time that the agent of a node has used, and bytes that its open
/// connections to the API server have received.
pub(super) fn spent(layout: &Layout, node: &str) -> Result<(u64, u64)> {
    let agent = agent(layout, node)?;
    let stat = agent.stat()?;
    let mut ss = network::inside(layout, node);
    let sockets =
        answer(ss.args(["ss", "--tcp", "--info", "--processes", "--no-header", "--oneline"]));
    let sockets = sockets.context("ss failed")?;
    let own = format!("pid={},", agent.pid);
    let received = sockets.lines().filter(|line| line.contains(&own)).filter_map(|line| {
        let (_, rest) = line.split_once("bytes_received:")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok((stat.utime + stat.stime, received.sum()))
}

/// Memory and descriptors of the agent of a node.
pub(super) fn resource_use(layout: &Layout, node: &str) -> Result<ResourceUse> {
    let agent = agent(layout, node)?;
    let memory = agent.status()?.vmrss.context("no VmRSS")?;
    Ok(ResourceUse { memory, descriptors: agent.fd_count()? as u64 })
}

/// Kills every process of a pod, also the one that keeps its namespaces.
pub(super) fn kill_pod(uid: &str) -> Result<()> {
    for process in processes()? {
        let groups = process.cgroups().map(|groups| groups.0).unwrap_or_default();
        if groups.iter().any(|group| group.pathname.contains(uid)) {
            process::end(process.pid);
        }
    }
    Ok(())
}

fn agent(layout: &Layout, node: &str) -> Result<Process> {
    find(layout, node)?.with_context(|| format!("no agent on {node}"))
}

/// The agent of a node: it runs in the node's own network namespace.
fn find(layout: &Layout, node: &str) -> Result<Option<Process>> {
    let own = fs::metadata(format!("/run/netns/{}", layout.prefixed(node)))?.ino();
    let is_agent = |process: &Process| {
        let words = process.cmdline().unwrap_or_default();
        let network = process
            .namespaces()
            .ok()
            .and_then(|all| Some(all.0.get(OsStr::new("net"))?.identifier));
        words.starts_with(&["/policy-agent".to_owned(), "run".to_owned()]) && network == Some(own)
    };
    Ok(processes()?.find(is_agent))
}

/// Every process that exists while the list is read.
fn processes() -> Result<impl Iterator<Item = Process>> {
    Ok(procfs::process::all_processes()?.filter_map(Result::ok))
}
