//! For each denied connection, the flow log, the Event and `explain` name the same policies and rules
//! (S58).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use policy_core::{
    attribute::Denial,
    compile::{Scope, compile},
    desired::Desired,
    explain::{ConnectionEnd, DecidingPolicy, DirectionVerdict, Question, Side, explain, sides},
    model::{Direction, Snapshot},
};
use policy_lab::{LabConfig, Progress, agent::DropReport, build_and_probe};
use policy_manifest::{Source, read, read_expectations};
use policy_probe::{Outcome, Probe, Selection, choose};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::program::root;

/// Nobody watches.
struct Silent;

impl Progress for Silent {
    fn start_stage(&self, _: &'static str, _: usize) {}
    fn probe_done(&self) {}
}

/// A drop of the lab: the line of the flow log, read, and the note of the Event.
struct Dropped {
    line: Value,
    event: Option<String>,
}

/// What a lab gave.
struct Lab {
    snapshot: Snapshot,
    desired: Desired,
    denied: Vec<Probe>,
    drops: Vec<Dropped>,
}

/// A place where a denied connection was stopped, as `explain` has it.
struct ExplainedDenial {
    direction: Direction,
    verdict: DirectionVerdict,
    /// Source, destination and port of the dropped packet.
    packet: (Value, Value, u16),
}

fn source(path: &Path) -> Result<Source> {
    Ok(Source { name: path.display().to_string(), text: fs::read_to_string(path)? })
}

/// Runs the lab on an example, and keeps what its agents report.
async fn run(path: &Path) -> Result<Lab> {
    let manifests = read(&[source(path)?]).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let expectations = read_expectations(&source(&path.with_extension("expect.yaml"))?)
        .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let probes = choose(&manifests, &Selection::default(), Some(&expectations))
        .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let (observer, mut reports) = mpsc::unbounded_channel::<DropReport>();
    let config = LabConfig {
        manifests,
        probes: probes.clone(),
        drops: Some(observer),
        ..LabConfig::default()
    };
    let (lab, report) = build_and_probe(config, &Silent).await?;
    let snapshot = lab.snapshot().clone();
    drop(lab);
    let rows = report.table.probes.iter();
    let denied = rows.filter(|row| row.verdict == Outcome::Deny).map(|row| {
        let is_same = |probe: &&Probe| {
            (&probe.from, &probe.to, probe.port, probe.protocol, probe.family)
                == (&row.from, &row.to, row.port, row.protocol, row.family)
        };
        probes.iter().find(is_same).cloned().context("a row without a probe")
    });
    let denied = denied.collect::<Result<_>>()?;
    let mut drops = Vec::new();
    // It ends once the agents have.
    while let Some(DropReport { line, event, .. }) = reports.recv().await {
        drops.push(Dropped { line: serde_json::from_str(&line)?, event });
    }
    let desired = compile(&snapshot, Scope::Cluster).0;
    Ok(Lab { snapshot, desired, denied, drops })
}

impl Lab {
    /// Where `explain` says that a probe is stopped: at its source, or else at a backend.
    fn explained(&self, probe: &Probe) -> Result<Vec<ExplainedDenial>> {
        let question = probe.question();
        let explanation = explain(&self.snapshot, &self.desired, &question);
        let explanation = explanation.with_context(|| format!("no verdict on {question:?}"))?;
        if !explanation.egress.allowed {
            let packet = (json!(probe.source), json!(probe.destination), probe.port);
            let verdict = explanation.egress;
            return Ok(vec![ExplainedDenial { direction: Direction::Egress, verdict, packet }]);
        }
        let sides = sides(&self.snapshot, &question).into_iter();
        let sides = sides.filter(|side| side.direction == Direction::Ingress && !side.allowed());
        sides.map(|side| self.ingress(probe, &side)).collect()
    }

    fn ingress(&self, probe: &Probe, side: &Side) -> Result<ExplainedDenial> {
        let &Side { remote, port, protocol, .. } = side;
        let from = ConnectionEnd::Address(remote);
        let to = ConnectionEnd::Pod(side.pod.clone());
        let question = Question { from, to, family: probe.family, protocol, port };
        let explanation = explain(&self.snapshot, &self.desired, &question);
        let verdict = explanation.with_context(|| format!("no verdict on {question:?}"))?.ingress;
        let addresses = &self.snapshot.pods[&side.pod].addresses;
        let own = addresses.iter().find(|own| own.is_ipv4() == remote.is_ipv4());
        let packet = (json!(remote), json!(own), port);
        Ok(ExplainedDenial { direction: Direction::Ingress, verdict, packet })
    }

    /// The reports of packets that were dropped at a place. Where none has the source that `explain`
    /// expects, those with an address that no pod has: a node masquerades with any of its addresses.
    fn reports(&self, probe: &Probe, denied: &ExplainedDenial) -> Vec<&Dropped> {
        let (source, destination, port) = &denied.packet;
        let is_here = |drop: &&Dropped| {
            let line = &drop.line;
            // The lab forges source addresses, too.
            line["reason"] != "spoofed-source"
                && line["direction"] == denied.direction.name()
                && line["protocol"] == probe.protocol.name()
                && line["destination"]["address"] == *destination
                && line["destination"]["port"] == *port
        };
        let (expected, others): (Vec<_>, Vec<_>) = self
            .drops
            .iter()
            .filter(is_here)
            .partition(|drop| drop.line["source"]["address"] == *source);
        if !expected.is_empty() {
            return expected;
        }
        others.into_iter().filter(|drop| drop.line["source"]["pod"].is_null()).collect()
    }
}

/// Deciding policies as the flow log has them.
fn in_line(by: &[DecidingPolicy]) -> Vec<Value> {
    let policy = |by: &DecidingPolicy| {
        let (kind, name) = (by.policy.kind().name(), by.policy.name());
        match by.policy.namespace() {
            Some(namespace) => {
                json!({"kind": kind, "namespace": namespace, "name": name, "rule": by.rule})
            }
            None => json!({"kind": kind, "name": name, "rule": by.rule}),
        }
    };
    by.iter().map(policy).collect()
}

/// The line and the Event of a drop name who denies by `explain`.
fn check(denied: &ExplainedDenial, drop: &Dropped) -> Result<()> {
    let Dropped { line, event } = drop;
    let mut policies = line["policies"].as_array().context("no policies")?.clone();
    for policy in &mut policies {
        policy.as_object_mut().context("no object")?.remove("annotations");
    }
    let by = &denied.verdict.by;
    ensure!(policies == in_line(by), "the flow log names others than {by:?}: {line}");
    let denial = Denial::of(denied.direction, denied.verdict.clone()).context("no denial")?;
    ensure!(line["decision"] == denial.decision().name(), "{line}");
    let is_by_rule = by.iter().any(|by| by.rule.is_some());
    ensure!(!is_by_rule || line["reason"] != "no-rule", "{line}");
    let event = event.as_ref().context("no Event")?;
    ensure!(event.ends_with(&denial.to_string()), "{event:?} is not of {denial}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s58_flow_log_events_and_policyctl_explain_name_the_same_policies_on_all_examples()
-> Result<()> {
    let mut decisions: BTreeMap<String, usize> = BTreeMap::new();
    for entry in fs::read_dir(root().join("examples"))? {
        let path = entry?.path();
        if !path.with_extension("expect.yaml").is_file() {
            continue;
        }
        let lab = run(&path).await.with_context(|| path.display().to_string())?;
        for probe in &lab.denied {
            let what = || format!("{}: {probe:?}", path.display());
            let sides = policyctl_sides(&path, probe).with_context(what)?;
            let mut compared = 0;
            for denied in lab.explained(probe)? {
                for drop in lab.reports(probe, &denied) {
                    check(&denied, drop).with_context(what)?;
                    check_policyctl(&sides, drop).with_context(what)?;
                    *decisions.entry(drop.line["decision"].to_string()).or_default() += 1;
                    compared += 1;
                }
            }
            ensure!(compared > 0, "{}: no drop of it was reported", what());
        }
    }
    ensure!(decisions.len() == 2, "denied by rules, and because no rule allows: {decisions:?}");
    Ok(())
}

/// `policyctl` of the same build.
fn policyctl() -> Result<Command> {
    let agent = Path::new(env!("CARGO_BIN_EXE_policy-agent"));
    let program = agent.with_file_name("policyctl");
    ensure!(program.is_file(), "{} is not built: cargo build -p policyctl", program.display());
    let mut command = Command::new(program);
    command.current_dir(root());
    Ok(command)
}

/// The sides of a probe as the program `policyctl explain` prints them.
fn policyctl_sides(path: &Path, probe: &Probe) -> Result<Vec<Value>> {
    let port = format!("{}/{}", probe.port, probe.protocol);
    let mut command = policyctl()?;
    command.args(["explain", "-o", "json", "-f"]).arg(path);
    command.args(["--from", &probe.from.to_string(), "--to", &probe.to.to_string()]);
    let output = command.args(["--port", &port]).output()?;
    ensure!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let answers = answer["answers"].as_array().context("no answers")?;
    let family = probe.family.name();
    let answer = answers.iter().find(|answer| answer["family"] == family);
    let answer = answer.context("no answer in the family")?;
    Ok(answer["sides"].as_array().context("no sides")?.clone())
}

/// `policyctl explain` names the policies of the line. A packet to a Service may be denied at several
/// backends, each of which is a side.
fn check_policyctl(sides: &[Value], drop: &Dropped) -> Result<()> {
    let line = &drop.line;
    let (direction, verdict) = (&line["direction"], "deny");
    let denying =
        sides.iter().filter(|side| side["direction"] == *direction && side["verdict"] == verdict);
    let named: BTreeSet<String> = denying.flat_map(names).collect();
    let policies = line["policies"].as_array().context("no policies")?;
    let want: BTreeSet<String> = policies.iter().map(|policy| name(policy, direction)).collect();
    ensure!(named == want, "policyctl names {named:?}, the flow log {line}");
    Ok(())
}

/// What `policyctl explain` names as deciding.
fn names(side: &Value) -> Vec<String> {
    if let Some(rule) = side["decided_by"].as_str() {
        return vec![rule.to_owned()];
    }
    let policies = side["isolated_by"].as_array().into_iter().flatten();
    policies.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A policy of a line in the words of `policyctl explain`.
fn name(policy: &Value, direction: &Value) -> String {
    let text = |key: &str| policy[key].as_str().unwrap_or_default();
    match (policy["rule"].as_u64(), policy["namespace"].as_str()) {
        (Some(rule), _) => {
            let direction = direction.as_str().unwrap_or_default();
            format!("spec.{direction}[{rule}] of {} {}", text("kind"), text("name"))
        }
        (None, Some(namespace)) => format!("{namespace}/{}", text("name")),
        (None, None) => text("name").to_owned(),
    }
}
