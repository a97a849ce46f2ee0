//! Runs probes from inside of the pods, and reads their outcomes.
//!
//! A silent probe counts as denied only if an agent logged a dropped packet for it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use policy_manifest::End;
use policy_probe::{Outcome, Probe, Row};
use testbed::network;
use xtask::image::POD;

use super::deployed::DeployedExample;
use super::drops;

/// Milliseconds that an answer may take; the kernel repeats a lost SYN after one second.
const PATIENCE: &str = "2500";

/// What a probe observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// An answer of the server that was meant.
    Answered,
    /// An answer of another server, or a refusal.
    Strange,
    /// No answer.
    Silent,
}

/// Runs all probes of the example; sources run at the same time.
pub(super) fn run(deployed: &DeployedExample<'_>) -> Result<Vec<Observation>> {
    let mut by_source = BTreeMap::<&End, Vec<(usize, &Probe)>>::new();
    for (number, (probe, _)) in deployed.example.probes.iter().enumerate() {
        by_source.entry(&probe.from).or_default().push((number, probe));
    }
    let mut seen = vec![Observation::Silent; deployed.example.probes.len()];
    let answers = thread::scope(|scope| {
        let each =
            by_source.iter().map(|(from, probes)| scope.spawn(|| run_from(deployed, from, probes)));
        let started: Vec<_> = each.collect();
        let ended = started
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))));
        ended.collect::<Result<Vec<_>>>()
    })?;
    for line in answers.iter().flat_map(|answer| answer.lines()) {
        let mut words = line.split_whitespace();
        let number: usize = words.next().context("an empty line")?.parse()?;
        let (probe, _) = deployed.example.probes.get(number).context("an unknown probe")?;
        seen[number] = match (words.next(), words.next()) {
            (Some("silent"), _) => Observation::Silent,
            (Some("answered"), None) => Observation::Answered,
            (Some("answered"), Some(name)) if is_meant(&probe.to, name) => Observation::Answered,
            _ => Observation::Strange,
        };
    }
    Ok(seen)
}

/// Runs the probes with the agent installed: each denial must have a logged drop.
pub(super) fn judged(deployed: &DeployedExample<'_>) -> Result<Vec<Row>> {
    // The API server takes whole seconds.
    let since = Timestamp::from_second(Timestamp::now().as_second())?;
    let seen = run(deployed)?;
    let silent =
        seen.iter().zip(&deployed.example.probes).filter(|(seen, _)| **seen == Observation::Silent);
    let silent: Vec<_> = silent.map(|(_, (probe, _))| probe).collect();
    let dropped = drops::of(deployed, since, &silent)?;
    let rows = deployed.example.probes.iter().zip(seen).map(|((probe, explanation), seen)| {
        let outcome = match seen {
            Observation::Answered => Outcome::Allow,
            Observation::Silent if dropped.contains(&probe) => Outcome::Deny,
            Observation::Silent | Observation::Strange => Outcome::Lost,
        };
        Row::new(probe, explanation, Some(outcome))
    });
    Ok(rows.collect())
}

/// Whether `name` is the server that the probe was meant for.
fn is_meant(to: &End, name: &str) -> bool {
    match to {
        End::Pod(_) | End::Host(_) => name == to.to_string(),
        // Any backend may answer.
        End::Service(_) | End::Address(_) => true,
    }
}

/// Runs the probes of one source, and returns the lines that `policy-pod probe` prints.
fn run_from(
    deployed: &DeployedExample<'_>,
    from: &End,
    probes: &[(usize, &Probe)],
) -> Result<String> {
    let mut lines = String::new();
    for (number, probe) in probes {
        let target = deployed.destination(probe)?;
        lines +=
            &[number.to_string(), probe.protocol.name().to_owned(), target.to_string()].join(" ");
        lines.push('\n');
    }
    let program = format!("/{POD}");
    match from {
        End::Pod(pod) => {
            let pods = deployed.cluster.client.namespaced::<Pod>(&pod.namespace);
            Ok(pods.run(&pod.name, &[&program, "probe", PATIENCE], &lines)?)
        }
        End::Host(name) => of_host(deployed, name, &lines),
        End::Service(_) | End::Address(_) => Err(anyhow!("{from} cannot send")),
    }
}

fn of_host(deployed: &DeployedExample<'_>, name: &str, lines: &str) -> Result<String> {
    let layout =
        deployed.cluster.local.as_ref().context("hosts are beside our own cluster only")?;
    let mut probe = network::inside(layout, &network::host(name));
    probe.arg(super::pod_program()?).args(["probe", PATIENCE]);
    let mut child = probe.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(lines.as_bytes())?;
    Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned())
}
