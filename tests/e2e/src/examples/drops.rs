//! Reads the agents' flow logs: which probes have a dropped packet.
//!
//! Input are the JSON lines of the agents' logs; output are those of the given probes that a line
//! matches by protocol, addresses and port.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use policy_manifest::End;
use policy_probe::Probe;
use serde_json::Value;
use testbed::client::LogParams;

use super::deployed::DeployedExample;
use crate::install::{AGENTS, NAMESPACE};

/// How long a drop may take to be logged.
const PATIENCE: Duration = Duration::from_secs(5);

/// The probes for which an agent logged a dropped packet.
pub(super) fn of<'a>(
    deployed: &DeployedExample<'_>,
    since: Timestamp,
    probes: &[&'a Probe],
) -> Result<Vec<&'a Probe>> {
    let end = Instant::now() + PATIENCE;
    let agents = deployed.cluster.client.namespaced::<Pod>(NAMESPACE);
    loop {
        let mut log = String::new();
        for agent in agents.list(AGENTS)? {
            let lines = LogParams { since_time: Some(since), ..LogParams::default() };
            log += &agents.log(&agent.metadata.name.unwrap_or_default(), lines)?;
        }
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<_> = lines.filter(|line| line["verdict"] == "drop").collect();
        let counted: Vec<_> = probes
            .iter()
            .copied()
            .filter(|probe| lines.iter().any(|line| is_drop_of(deployed, probe, line)))
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
fn is_drop_of(deployed: &DeployedExample<'_>, probe: &Probe, line: &Value) -> bool {
    if line["protocol"] != probe.protocol.name() {
        return false;
    }
    let address =
        |end: &Value| end["address"].as_str().and_then(|text| text.parse::<IpAddr>().ok());
    let (source, destination) = (address(&line["source"]), address(&line["destination"]));
    let Ok(target) = deployed.destination(probe) else { return false };
    let is_direct = destination == Some(target.ip())
        && line["destination"]["port"] == target.port()
        && source == deployed.source(probe);
    if is_direct || !matches!(probe.to, End::Service(_) | End::Address(_)) {
        return is_direct;
    }
    let mut sources: BTreeSet<_> = deployed.node_addresses().collect();
    sources.extend(deployed.source(probe));
    source.is_some_and(|source| sources.contains(&source)) && line["destination"]["pod"].is_string()
}
