//! Reads the agents' flow logs: which probes have a dropped packet.
//!
//! Input are the JSON lines of `kubectl logs`; output are those of the given probes that a line
//! matches by protocol, addresses and port.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use policy_manifest::End;
use policy_probe::Probe;
use serde_json::Value;
use xtask::command::{answer, command};

use super::stage::Stage;
use crate::install::NAMESPACE;

/// How long a drop may take to be logged.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time, as the API server writes it.
pub(super) fn now() -> Result<String> {
    answer(command("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"])).context("date does not answer")
}

/// The probes for which an agent logged a dropped packet.
pub(super) fn of<'a>(
    stage: &Stage<'_>,
    since: &str,
    probes: &[&'a Probe],
) -> Result<Vec<&'a Probe>> {
    let end = Instant::now() + PATIENCE;
    let since = format!("--since-time={since}");
    loop {
        let log = stage.cluster.kubectl.answer(&[
            "logs",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/name=policy-agent",
            "--tail=-1",
            &since,
        ])?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<_> = lines.filter(|line| line["verdict"] == "drop").collect();
        let counted: Vec<_> = probes
            .iter()
            .copied()
            .filter(|probe| lines.iter().any(|line| is_drop_of(stage, probe, line)))
            .collect();
        if counted.len() == probes.len() || Instant::now() > end {
            return Ok(counted);
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// Whether a dropped packet is the probe's.
///
/// On its way through a Service or a node's port a packet may change its destination, and its
/// source to that of a node.
fn is_drop_of(stage: &Stage<'_>, probe: &Probe, line: &Value) -> bool {
    if line["protocol"] != probe.protocol.name() {
        return false;
    }
    let address =
        |end: &Value| end["address"].as_str().and_then(|text| text.parse::<IpAddr>().ok());
    let (source, destination) = (address(&line["source"]), address(&line["destination"]));
    let Ok(target) = stage.destination(probe) else { return false };
    let is_direct = destination == Some(target.ip())
        && line["destination"]["port"] == target.port()
        && source == stage.source(probe);
    if is_direct || !matches!(probe.to, End::Service(_) | End::Address(_)) {
        return is_direct;
    }
    let mut sources: BTreeSet<_> = stage.node_addresses().collect();
    sources.extend(stage.source(probe));
    source.is_some_and(|source| sources.contains(&source)) && line["destination"]["pod"].is_string()
}
