//! The command `policyctl flows`: connections that were denied on any node, and who denied them.
//!
//! Input: `GET /flows` of every agent. Output: the flows that the options ask for, the last one first;
//! with `--follow` each flow again whenever it has more packets.

mod filter;
mod follow;
mod node_flow;
mod table;

use clap::{Args, ValueEnum};
use policy_probe::{exit, terminal};
use policy_report::flows::FlowReport;
use serde::Serialize;

use crate::{
    agents::{self, AgentAnswers, AgentOptions, Agents},
    error::Error,
    output,
};

pub(crate) use filter::FilterOptions;
#[cfg(test)]
pub(crate) use filter::example;
pub(crate) use node_flow::{NodeFlow, end_name, policy_name};

const HELP: &str = "\
Examples:
  policyctl flows
      connections that were denied on any node in the last five minutes
  policyctl flows -n shop --since 24h
      those from or to the namespace shop, as far back as the agents remember
  policyctl flows --policy shop/db --port 5432/TCP -o json
      those that one policy denied at one port
  policyctl flows --pod shop/web-7d9f-x2x4p --follow
      print each denied connection of a pod as it happens

It needs the right to list pods and to create pods/portforward in the namespace of the agents.

Exit codes:
  0  every agent has answered
  2  wrong usage, or a kubeconfig that must be corrected
  3  an agent has no answer (standard error names its node; the flows of the others are printed), or
     none could be asked";

/// Options of `policyctl flows`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct FlowsArguments {
    #[command(flatten)]
    agents: AgentOptions,

    #[command(flatten)]
    filter: FilterOptions,

    #[command(flatten)]
    since: SinceOptions,

    /// Go on, and print each flow again whenever it has more packets
    #[arg(short = 'w', long)]
    follow: bool,

    /// Format of the flows on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: FlowFormat,
}

/// How far back an answer goes.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct SinceOptions {
    /// Only flows with a packet since then: 30s, 5m, 24h; agents keep flows for 24 hours
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = seconds)]
    since: u64,
}

/// Format of flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FlowFormat {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct FlowsDocument<'a> {
    flows: &'a [NodeFlow],
    /// Nodes without an answer.
    missing: Vec<MissingNode<'a>>,
}

#[derive(Debug, Serialize)]
struct MissingNode<'a> {
    node: &'a str,
    reason: &'a str,
}

/// Prints the flows; returns the exit code.
pub(crate) fn main(arguments: &FlowsArguments) -> Result<u8, Error> {
    if arguments.follow && arguments.output == FlowFormat::Json {
        return Err(Error::FollowJson);
    }
    let agents = agents::connect(&arguments.agents)?;
    if arguments.follow {
        return follow::run(&agents, arguments);
    }
    let answers = arguments.since.ask(&agents)?;
    let code = answers.report_missing(exit::FINE);
    report_lost(&answers);
    let flows = arguments.filter.of(&answers);
    match arguments.output {
        FlowFormat::Table => output::print(&table::text(&flows, jiff::Timestamp::now()))?,
        FlowFormat::Jsonl => output::print(&lines(&flows)?)?,
        FlowFormat::Json => {
            let missing = answers.missing.iter();
            let missing = missing.map(|(node, reason)| MissingNode { node, reason }).collect();
            output::print(&output::json(&FlowsDocument { flows: &flows, missing })?)?;
        }
    }
    Ok(code)
}

impl SinceOptions {
    /// The flows of every node.
    pub(crate) fn ask(&self, agents: &Agents) -> Result<AgentAnswers<FlowReport>, Error> {
        Ok(agents.ask(|_agent| format!("/flows?since={}s", self.since))?)
    }
}

/// Warns of nodes that have lost flows or packets.
pub(crate) fn report_lost(answers: &AgentAnswers<FlowReport>) {
    for (agent, report) in &answers.nodes {
        let lost = report.lost;
        if lost.flows > 0 {
            terminal::line(&format!(
                "warning: the agent of {} has forgotten {} flows since {}: its --flow-memory is used up",
                agent.node, lost.flows, report.started
            ));
        }
    }
}

/// Flows as JSON, one a line.
fn lines(flows: &[NodeFlow]) -> Result<String, Error> {
    let mut text = String::new();
    for flow in flows {
        text += &serde_json::to_string(flow)?;
        text.push('\n');
    }
    Ok(text)
}

/// Reads a duration.
fn seconds(text: &str) -> Result<u64, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    let seconds = duration.and_then(|duration| u64::try_from(duration.as_secs()).ok());
    seconds.ok_or_else(|| "write a duration as in 30s, 5m or 24h".to_owned())
}
