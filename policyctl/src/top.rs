//! The command `policyctl top`: which policies, rules or pods have the most denied packets.
//!
//! Input: the flows of every agent. Output: their packets, added up by what the command line names. A
//! flow that several policies decided counts for each of them:
//!
//! ```text
//! flow 1   6 packets   by NetworkPolicy shop/db                          shop/db       6 packets  1 flow
//! flow 2   2 packets   by NetworkPolicy shop/db, NetworkPolicy shop/all  shop/all      2 packets  1 flow
//! ```

use std::{cmp::Reverse, collections::BTreeMap};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use policy_probe::{exit, grid, options::TableFormat, terminal};
use policy_report::flows::{ReportedFlow, ReportedPolicy};
use serde::Serialize;

use crate::{
    agents::{self, AgentOptions},
    error::Error,
    flows::{FilterOptions, NodeFlow, SinceOptions, end_name, policy_name, report_lost},
    output,
};

const HELP: &str = "\
Examples:
  policyctl top policies
      the policies that denied most packets in the last five minutes
  policyctl top rules --since 24h -n shop
      the same by rule, of flows from or to the namespace shop
  policyctl top pods -o json
      the workloads with the most denied packets, whichever end they are

A count is that of whole flows, from their first packet. A policy that isolates a pod where no rule
allows a packet has denied it without a rule of its own.

Exit codes:
  0  every agent has answered
  2  wrong usage, or a kubeconfig that must be corrected
  3  an agent has no answer (standard error names its node), or none could be asked";

/// Options of `policyctl top`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TopArguments {
    /// What packets are added up by
    #[arg(value_enum)]
    what: Summand,

    #[command(flatten)]
    agents: AgentOptions,

    #[command(flatten)]
    filter: FilterOptions,

    #[command(flatten)]
    since: SinceOptions,

    /// Print so many at most; 0 prints all
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,

    /// Format of the answer on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,
}

/// What packets are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Summand {
    /// The policies that denied them
    Policies,
    /// The rules that denied them, and policies that isolate without a rule that allows
    Rules,
    /// The workloads at both ends, because pods of one workload count together
    Pods,
}

/// The denied packets of one policy, rule or workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TopEntry {
    name: String,
    packets: u64,
    flows: u64,
    first: Timestamp,
    last: Timestamp,
}

/// Prints the answer; returns the exit code.
pub(crate) fn main(arguments: &TopArguments) -> Result<u8, Error> {
    let agents = agents::connect(&arguments.agents)?;
    let answers = arguments.since.ask(&agents)?;
    let code = answers.report_missing(exit::FINE);
    report_lost(&answers);
    let mut entries = added_up(&arguments.filter.of(&answers), arguments.what);
    if arguments.limit > 0 {
        entries.truncate(arguments.limit);
    }
    let text = match arguments.output {
        TableFormat::Json => output::json(&entries)?,
        TableFormat::Table if entries.is_empty() => "no flow\n".to_owned(),
        TableFormat::Table => {
            let rows = entries.into_iter().map(TopEntry::row);
            grid(["NAME", "PACKETS", "FLOWS", "LAST"], rows, terminal::style()) + "\n"
        }
    };
    output::print(&text)?;
    Ok(code)
}

/// The entries, the one with the most packets first.
fn added_up(flows: &[NodeFlow], what: Summand) -> Vec<TopEntry> {
    let mut entries: BTreeMap<String, TopEntry> = BTreeMap::new();
    for NodeFlow { flow, .. } in flows {
        for name in names(flow, what) {
            let entry = entries.entry(name.clone()).or_insert(TopEntry {
                name,
                packets: 0,
                flows: 0,
                first: flow.first,
                last: flow.last,
            });
            entry.packets += flow.packets;
            entry.flows += 1;
            entry.first = entry.first.min(flow.first);
            entry.last = entry.last.max(flow.last);
        }
    }
    let mut entries: Vec<TopEntry> = entries.into_values().collect();
    entries.sort_by_key(|entry| Reverse(entry.packets));
    entries
}

/// What a flow counts for, each once.
fn names(flow: &ReportedFlow, what: Summand) -> Vec<String> {
    let policies = flow.policies.iter();
    let mut names: Vec<String> = match what {
        Summand::Policies => {
            let whole = |policy: &ReportedPolicy| ReportedPolicy { rule: None, ..policy.clone() };
            policies.map(|policy| policy_name(&whole(policy))).collect()
        }
        Summand::Rules => policies.map(policy_name).collect(),
        Summand::Pods => [&flow.source, &flow.destination].map(end_name).to_vec(),
    };
    names.sort();
    names.dedup();
    names
}

impl TopEntry {
    fn row(self) -> [String; 4] {
        let Self { name, packets, flows, last, .. } = self;
        [name, packets.to_string(), flows.to_string(), format!("{last:.0}")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::example;

    #[test]
    fn packets_are_added_up_and_a_flow_counts_once_for_each_policy() {
        let (mut one, mut two) = (example("node1", "web", 5432), example("node2", "api", 5432));
        (one.flow.packets, two.flow.packets) = (6, 2);
        let rule =
            |rule| ReportedPolicy { name: "all".to_owned(), rule, ..one.flow.policies[0].clone() };
        two.flow.policies.extend([rule(Some(0)), rule(Some(1))]);
        let counts = |what| {
            let entries = added_up(&[one.clone(), two.clone()], what).into_iter();
            entries.map(|entry| format!("{} {}", entry.name, entry.packets)).collect::<Vec<_>>()
        };
        assert_eq!(
            counts(Summand::Policies),
            ["NetworkPolicy shop/db 8", "NetworkPolicy shop/all 2"]
        );
        #[rustfmt::skip]
        assert_eq!(counts(Summand::Rules), [
            "NetworkPolicy shop/db 8", "NetworkPolicy shop/all rule 0 2", "NetworkPolicy shop/all rule 1 2",
        ]);
        #[rustfmt::skip]
        assert_eq!(counts(Summand::Pods), [
            "StatefulSet shop/db 8", "Deployment shop/web 6", "Deployment shop/api 2",
        ]);
    }
}
