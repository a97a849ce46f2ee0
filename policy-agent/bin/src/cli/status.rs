//! The command `policy-agent status`: asks the agent of this node, and prints its pods and policies.
//!
//! It reads `GET /status` of the agent, so it needs no privilege and no kubeconfig. `-o json` prints
//! the response as it is. With `--check` it asks only whether the agent runs or is ready, for kubelet's
//! probes: at the agent's socket no other process of the node can answer them.

use std::io;

use clap::{Args, ValueEnum};
use comfy_table::{Cell, Color};
use policy_probe::{exit, grid, options::TableFormat, terminal};
use policy_report::status::{
    Pod, PodState, Policy, PolicyState, SelectedKind, Status, select, title,
};

use super::ask::{AskError, PlaceOptions};

const HELP: &str = "\
Examples:
  kubectl -n policy-system exec daemonset/policy-agent -- /policy-agent status
      show pods and policies of the node of one of the agents
  policy-agent status policy shop/web
      show one policy, why it is not enforced if it is not, and the pods of this node that it selects
  policy-agent status pod shop/web-0
      show one pod, and the policies that isolate it
  policy-agent status -o json
      on a node itself, print JSON
  policy-agent status --address 127.0.0.1:9471
      ask an agent that runs with --listen 127.0.0.1:9471
  policy-agent status --socket --check alive
      as root, ask an agent that runs with --status-socket whether it runs; prints nothing if it does

Exit codes:
  0  all policies are enforced for all pods of the node, or the check succeeded
  1  a policy is not enforced, or only in part; the table shows which
  2  wrong usage, or nothing on this node has the name
  3  no agent responds, it has no state yet, or the check failed";

/// Options of `policy-agent status`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StatusArguments {
    /// Only objects of this kind, and those that belong to them
    #[arg(value_enum, conflicts_with = "check")]
    kind: Option<KindChoice>,

    /// Only the object of this name, `NAMESPACE/NAME`, or `NAME` in any namespace
    #[arg(requires = "kind")]
    name: Option<String>,

    #[command(flatten)]
    place: PlaceOptions,

    /// Print nothing; only check whether the agent runs, or whether it is ready
    #[arg(long, value_name = "WHAT", value_enum, conflicts_with = "output")]
    check: Option<StatusCheck>,

    /// Format of the state on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,
}

/// A kind of objects on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindChoice {
    /// Pods of the node
    #[value(alias = "pods")]
    Pod,
    /// Policies that select a pod of the node
    #[value(alias = "policies")]
    Policy,
}

/// What `--check` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusCheck {
    /// Whether the agent runs and answers
    Alive,
    /// Whether it enforces what the cluster asks for
    Ready,
}

/// Why the state cannot be printed.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("no {kind} of this node is named {name}")]
    NoSuchObject { kind: &'static str, name: String },
    #[error("cannot write the state as JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot write to standard output")]
    Write(#[from] io::Error),
}

/// Asks the agent of this node, prints its state and returns the exit code.
pub(super) fn main(arguments: &StatusArguments) -> u8 {
    answer(arguments).unwrap_or_else(|error| {
        terminal::error(&error);
        let is_input = matches!(error, StatusError::NoSuchObject { .. });
        if is_input { exit::INPUT } else { exit::FAILED }
    })
}

fn answer(arguments: &StatusArguments) -> Result<u8, StatusError> {
    let place = arguments.place.place();
    if let Some(check) = arguments.check {
        let path = match check {
            StatusCheck::Alive => "/healthz",
            StatusCheck::Ready => "/readyz",
        };
        place.get(path)?;
        return Ok(exit::FINE);
    }
    let status = selected(place.status()?, arguments)?;
    print(&status, arguments.output)?;
    Ok(if status.is_clean() { exit::FINE } else { exit::FINDINGS })
}

/// The part of the state that the command line names.
fn selected(status: Status, arguments: &StatusArguments) -> Result<Status, StatusError> {
    let Some(kind) = arguments.kind else { return Ok(status) };
    let name = arguments.name.as_deref();
    let (kind, word) = match kind {
        KindChoice::Pod => (SelectedKind::Pod, "pod"),
        KindChoice::Policy => (SelectedKind::Policy, "policy"),
    };
    select(status, kind, name).ok_or_else(|| StatusError::NoSuchObject {
        kind: word,
        name: name.unwrap_or_default().to_owned(),
    })
}

fn print(status: &Status, format: TableFormat) -> Result<(), StatusError> {
    use io::Write as _;
    let text = match format {
        TableFormat::Json => serde_json::to_string_pretty(status)? + "\n",
        TableFormat::Table => table(status),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

fn table(status: &Status) -> String {
    let style = terminal::style();
    let mut parts = vec![format!(
        "Node {}: {}",
        status.node,
        status.not_ready.as_ref().map_or_else(
            || "the agent is ready".to_owned(),
            |why| format!("the agent is not ready: {why}")
        )
    )];
    if let Some(why) = &status.off {
        parts.push(format!("ENFORCEMENT IS OFF, and every packet passes: {why}"));
    }
    if !status.pods.is_empty() {
        let header = ["POD", "INTERFACE", "STATE", "INGRESS", "EGRESS"];
        parts.push(grid(header, status.pods.iter().map(pod), style));
    }
    if !status.policies.is_empty() {
        let header = ["POLICY", "KIND", "STATE", "PODS"];
        parts.push(grid(header, status.policies.iter().map(policy), style));
    }
    let pods = status.pods.iter().filter_map(|pod| {
        Some(format!("pod {}/{}: {}", pod.namespace, pod.name, pod.reason.as_ref()?))
    });
    let policies = status.policies.iter().flat_map(|policy| {
        let notes = policy.reasons.iter().chain(&policy.notes);
        notes.map(|reason| format!("{} {}: {reason}", policy.kind, title(policy)))
    });
    let unknown = status.unknown_interfaces.iter();
    let unknown = unknown.map(|name| format!("interface {name} belongs to no known pod"));
    let others = status.other_enforcers.iter();
    let others = others.map(|name| format!("another policy enforcer runs on this node: {name}"));
    let notes: Vec<String> = pods.chain(policies).chain(unknown).chain(others).collect();
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    parts.join("\n\n") + "\n"
}

fn pod(pod: &Pod) -> Vec<Cell> {
    let colour = match pod.state {
        PodState::Enforced => Color::Green,
        PodState::NotEnforced => Color::Red,
        PodState::WithoutAddress => Color::Yellow,
    };
    let policies = |policies: &Option<Vec<String>>| {
        policies.as_ref().map_or_else(|| "-".to_owned(), |policies| policies.join(","))
    };
    vec![
        Cell::new(format!("{}/{}", pod.namespace, pod.name)),
        Cell::new(pod.interface.as_deref().unwrap_or("-")),
        Cell::new(pod.state).fg(colour),
        Cell::new(policies(&pod.ingress)),
        Cell::new(policies(&pod.egress)),
    ]
}

fn policy(policy: &Policy) -> Vec<Cell> {
    let colour = match policy.state {
        PolicyState::Enforced => Color::Green,
        PolicyState::Closed => Color::Yellow,
        PolicyState::NotEnforced | PolicyState::HeldBack => Color::Red,
    };
    vec![
        Cell::new(title(policy)),
        Cell::new(&policy.kind),
        Cell::new(policy.state).fg(colour),
        Cell::new(policy.pods),
    ]
}
