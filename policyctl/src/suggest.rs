//! `policyctl suggest`: the least network policies that allow what was observed.
//!
//! Input: manifests and observed connections (`flows`). `ends` finds the pods and addresses of each
//! connection, `needs` the rules that are missing for it, `policies` joins them into policies, and
//! `yaml` prints these. What is printed is read back, added to the manifests, and every connection is
//! judged again (`proof`).

mod connection;
mod ends;
mod flows;
mod needs;
mod not_expressed;
mod policies;
mod proof;
mod stable_labels;
mod yaml;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use policy_probe::{exit, input::InputError, terminal};
use serde::Serialize;

use crate::{error::Error, flows_error::FlowsError, origin::OriginOptions, output, scope};
use flows::Observed;
use needs::Needs;
use not_expressed::NotExpressed;
use policies::Suggested;

const EXAMPLES: &str = "\
Examples:
  policyctl suggest -R -f deploy/ --flows flows.jsonl > policies.yaml
      policies that allow what the agents' flow logs show as denied, beside those of the repository
  hubble observe --last 10000 -o json | policyctl suggest --flows - > policies.yaml
      policies for the cluster of the kubeconfig, from the flows of Hubble
  policyctl suggest -f cluster.yaml --flows table.csv -o json
      from a table with the columns from, to and port; for another program

A file of -f with the name *.jsonl or *.csv has flows too.
Policies select pods by labels that stay the same from rollout to rollout, namespaces by
kubernetes.io/metadata.name, and what is outside of the cluster by its address. A connection to a
Service is allowed at its backends, and one to the API server at its real addresses and port.
A direction of a workload without an observed connection stays as it is. Read the result before you
apply it: a connection that was not observed is denied where a policy is new.

Exit codes:
  0  the policies allow every connection
  1  a connection cannot be expressed, or stays denied; standard error lists them
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SuggestArguments {
    #[command(flatten)]
    origin: OriginOptions,

    /// Observed connections: lines of the flow log, flows of Hubble as JSON lines, or CSV with the
    /// columns from, to and port; - for standard input
    #[arg(long, value_name = "FILE")]
    flows: Vec<PathBuf>,

    /// Allow connections that Hubble has as denied, too
    #[arg(long)]
    with_denied: bool,

    /// Namespace of names in a table without one; by default that of the kubeconfig's context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: SuggestFormat,
}

/// Form of the policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SuggestFormat {
    /// Manifests with comments
    #[default]
    Yaml,
    /// For programs
    Json,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct Suggestion<'a> {
    policies: &'a [serde_json::Value],
    /// How many connections were observed, each once.
    connections: usize,
    not_expressed: &'a [NotExpressed],
}

/// Prints the policies; the exit code.
pub(crate) fn main(arguments: &SuggestArguments) -> Result<u8, Error> {
    let mut options = arguments.origin.clone();
    let files = [options.take_files_with(&["jsonl", "csv"]), arguments.flows.clone()].concat();
    let mut observed = Observed::default();
    for path in &files {
        let source = policy_files::read_file(path).map_err(InputError::Files)?;
        flows::read(&source, arguments.with_denied, &mut observed)?;
    }
    for (reason, count) in &observed.passed_over {
        terminal::notes(&[format!("passed over: {count} x {reason}")]);
    }
    if observed.flows.is_empty() {
        return Err(FlowsError::Nothing.into());
    }
    let origin = options.read()?;
    let manifests = &origin.manifests;
    let own = scope::own(arguments.namespace.as_deref(), &origin);
    let (connections, mut not_expressed) = ends::find(manifests, own, &observed.flows);
    let needs = Needs::of(&manifests.snapshot, &connections, &mut not_expressed);
    let suggested: Vec<Suggested> = policies::of(&manifests.snapshot, &needs, &mut not_expressed);
    let text = yaml::text(&suggested);
    not_expressed.extend(proof::still_denied(manifests, &text, &connections)?);
    not_expressed.sort();
    not_expressed.dedup();
    match arguments.output {
        SuggestFormat::Yaml => {
            output::print_warned(&text, "# warning: ", &manifests.warnings())?;
        }
        SuggestFormat::Json => {
            let policies: Vec<serde_json::Value> = suggested.iter().map(yaml::object).collect();
            let connections = connections.len();
            let answer =
                Suggestion { policies: &policies, connections, not_expressed: &not_expressed };
            output::print(&output::Document::new(&answer, manifests).json()?)?;
        }
    }
    for one in &not_expressed {
        terminal::line(&one.to_string());
    }
    if suggested.is_empty() && not_expressed.is_empty() {
        terminal::notes(&["every connection is allowed already; no policy is missing".to_owned()]);
    }
    Ok(if not_expressed.is_empty() { exit::FINE } else { exit::FINDINGS })
}
