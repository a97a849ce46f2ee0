//! `policyctl graph`: which workloads may connect to which.

mod deciders;
mod dot;
mod mermaid;
mod picture;

use clap::{Args, ValueEnum};
use policy_core::{
    compile::{Scope, compile},
    connections::Connections,
    desired::Ports,
    model::Protocol,
};
use policy_probe::{CannotProbe, ChooseError, exit, input::InputError, options, terminal};

use crate::{error::Error, origin::OriginOptions, output, scope::ScopeOptions, workload};
use deciders::Deciders;
use picture::Picture;

const EXAMPLES: &str = "\
Examples:
  policyctl graph -f cluster.yaml -o dot | dot -Tsvg > cluster.svg
      a picture, by Graphviz
  policyctl graph -f cluster.yaml -o mermaid
      a picture for a page of Markdown
  policyctl graph -f cluster.yaml --port 5432/TCP -o json
      who may reach databases, for another program
  policyctl graph -n shop -o mermaid
      a namespace of the cluster, and the workloads that it is connected to

Pods of one namespace that differ only in labels of their controller are one workload. A label
is the whole set of ports, as `policyctl list` has it: ports in brackets are allowed between some of
the pods only. An arrow is dashed where no policy applies. Networks outside of the cluster are drawn
by `policyctl list -o dot`.

Exit codes:
  0  drawn
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct GraphArguments {
    #[command(flatten)]
    origin: OriginOptions,

    #[command(flatten)]
    scope: ScopeOptions,

    /// Draw this port only, as in 80/TCP or 53/UDP
    #[arg(long = "port", value_name = "PORT[/PROTOCOL]", value_parser = options::port)]
    ports: Vec<(u16, Protocol)>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: GraphFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// For Graphviz
    #[default]
    Dot,
    /// For Markdown
    Mermaid,
    /// For programs
    Json,
}

/// The error for a cluster without pods, as `simulate` gives it.
fn no_pods() -> Error {
    InputError::Probes(vec![ChooseError { place: None, reason: CannotProbe::NoPods }]).into()
}

/// Prints the picture; the exit code.
pub(crate) fn main(arguments: &GraphArguments) -> Result<u8, Error> {
    let GraphArguments { origin, scope, ports, output } = arguments;
    let origin = origin.read()?;
    let manifests = &origin.manifests;
    let scope = scope.of(&origin)?;
    let snapshot = &manifests.snapshot;
    let (desired, faults) = compile(snapshot, Scope::Cluster);
    let (workloads, pods) = workload::groups(snapshot);
    if workloads.is_empty() {
        return Err(no_pods());
    }
    let only = ports.iter().map(|(port, protocol)| (*protocol, *port, *port));
    let picture = Picture {
        snapshot,
        connections: Connections::new(&desired, &pods),
        deciders: Deciders::new(snapshot, &desired),
        workloads: &workloads,
        pods: &pods,
        scope,
        only: (!ports.is_empty()).then(|| Ports::from_ranges(only)),
    };
    let warnings = manifests.warnings();
    let mut out = output::stream();
    match output {
        GraphFormat::Dot => dot::write(&picture, &warnings, &mut out)?,
        GraphFormat::Mermaid => mermaid::write(&picture, &warnings, &mut out)?,
        GraphFormat::Json => output::Document::new(&picture, manifests).write(&mut out)?,
    }
    out.finish()?;
    let notes: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&notes);
    Ok(exit::FINE)
}
