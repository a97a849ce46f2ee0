//! `policyctl graph`: which workloads may connect to which.

mod dot;
mod mermaid;
mod picture;

use clap::{Args, ValueEnum};
use policy_core::model::Protocol;
use policy_manifest::Expectations;
use policy_probe::{Selection, choose, exit, input::InputError, options, terminal};

use crate::{error::Error, origin::OriginOptions, output, scope::ScopeOptions, truth};
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

Pods of one namespace that differ only in labels of their controller are one workload. An arrow is
dashed where no policy applies, and its label has a * where only some pods or families are allowed.

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

    /// Draw this port instead of the declared ones, as in 80/TCP or 53/UDP
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

/// Prints the picture; the exit code.
pub(crate) fn main(arguments: &GraphArguments) -> Result<u8, Error> {
    let GraphArguments { origin, scope, ports, output } = arguments;
    let origin = origin.read()?;
    let manifests = &origin.manifests;
    let selection = Selection { ports: ports.clone(), ..Selection::default() };
    let scope = scope.of(&origin)?;
    let mut probes = choose(manifests, &selection, None).map_err(InputError::Probes)?;
    scope.narrow(&mut probes, &Expectations::default());
    let snapshot = &manifests.snapshot;
    let truth = truth::of(snapshot, &probes);
    let picture = Picture::of(snapshot, &truth.table, &scope);
    match output {
        GraphFormat::Dot => {
            output::print_warned(&dot::render(&picture), "// warning: ", &manifests.warnings())?;
        }
        GraphFormat::Mermaid => {
            output::print_warned(
                &mermaid::render(&picture),
                "%% warning: ",
                &manifests.warnings(),
            )?;
        }
        GraphFormat::Json => output::print(&output::Document::new(&picture, manifests).json()?)?,
    }
    terminal::notes(&truth.notes);
    Ok(exit::FINE)
}
