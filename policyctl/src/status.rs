//! The command `policyctl status`: what is enforced on all nodes.
//!
//! Input: `GET /status` of every agent. Output: a row for each node, policy or pod, and below the table
//! why something is not enforced. A policy is enforced where every node that has a pod of it enforces it:
//!
//! ```text
//! node1   shop/db enforced, 2 pods       ┐
//! node2   shop/db not enforced, 1 pod    ┘ shop/db: not enforced, 3 pods on 2 nodes
//! ```

mod policies;
mod table;

use clap::{Args, ValueEnum};
use policy_probe::{exit, options::TableFormat};
use policy_report::status::{SelectedKind, Status, select};
use serde::Serialize;

use crate::{
    agents::{self, AgentAnswers, AgentOptions},
    error::Error,
    output,
};

const HELP: &str = "\
Examples:
  policyctl status
      every node, whether its agent is ready, and how many of its pods and policies are enforced
  policyctl status policy
      every policy, and on how many nodes it is enforced
  policyctl status policy shop/db
      one policy, why it is not enforced if it is not, and on which nodes
  policyctl status pod shop/web-0
      one pod, and the policies that isolate it
  policyctl status node node1 -o json
      all that the agent of one node reports

It needs the right to list pods and to create pods/portforward in the namespace of the agents.

Exit codes:
  0  everything is enforced as it is written
  1  a policy is not enforced, or only in part, or a pod is not under its policies
  2  wrong usage, nothing has the name, or a kubeconfig that must be corrected
  3  an agent has no answer (standard error names its node; the state of the others is printed), or
     none could be asked";

/// Options of `policyctl status`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StatusArguments {
    /// Only objects of this kind, and those that belong to them
    #[arg(value_enum, default_value_t)]
    kind: StatusKind,

    /// Only the object of this name, `NAMESPACE/NAME`, or `NAME` in any namespace
    #[arg(requires = "kind")]
    name: Option<String>,

    #[command(flatten)]
    agents: AgentOptions,

    /// Format of the state on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,
}

/// What has a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum StatusKind {
    /// Nodes
    #[default]
    #[value(alias = "nodes")]
    Node,
    /// Policies that select a pod
    #[value(alias = "policies")]
    Policy,
    /// Pods
    #[value(alias = "pods")]
    Pod,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct StatusDocument<'a> {
    nodes: &'a [Status],
    missing: Vec<UnansweredNode<'a>>,
}

/// A node without an answer.
#[derive(Debug, Serialize)]
struct UnansweredNode<'a> {
    node: &'a str,
    reason: &'a str,
}

/// Prints the state; returns the exit code.
pub(crate) fn main(arguments: &StatusArguments) -> Result<u8, Error> {
    let agents = agents::connect(&arguments.agents)?;
    let answers: AgentAnswers<Status> = agents.ask(|_agent| "/status".to_owned())?;
    let nodes = answers.nodes.iter().map(|(_, status)| status.clone());
    let nodes = chosen(nodes.collect(), arguments.kind, arguments.name.as_deref());
    let is_clean = nodes.iter().all(Status::is_clean);
    let code = answers.report_missing(if is_clean { exit::FINE } else { exit::FINDINGS });
    if let Some(name) = arguments.name.as_ref().filter(|_| nodes.is_empty()) {
        // It may be on a node without an answer.
        if code == exit::FAILED {
            return Ok(code);
        }
        return Err(Error::NoStatus { name: name.clone() });
    }
    let text = match arguments.output {
        TableFormat::Json => {
            let missing = answers.missing.iter();
            let missing = missing.map(|(node, reason)| UnansweredNode { node, reason }).collect();
            output::json(&StatusDocument { nodes: &nodes, missing })?
        }
        TableFormat::Table => match arguments.kind {
            StatusKind::Node => table::nodes(&nodes),
            StatusKind::Policy => table::policies(&policies::merged(&nodes)),
            StatusKind::Pod => table::pods(&nodes),
        },
    };
    output::print(&text)?;
    Ok(code)
}

/// The nodes that have what the command line names, each with that alone.
fn chosen(nodes: Vec<Status>, kind: StatusKind, name: Option<&str>) -> Vec<Status> {
    let kind = match kind {
        StatusKind::Node => {
            let is_named = |status: &Status| name.is_none_or(|name| status.node == name);
            return nodes.into_iter().filter(is_named).collect();
        }
        StatusKind::Policy => SelectedKind::Policy,
        StatusKind::Pod => SelectedKind::Pod,
    };
    nodes.into_iter().filter_map(|status| select(status, kind, name)).collect()
}
