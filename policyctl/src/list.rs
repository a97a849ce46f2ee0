//! `policyctl list`: the whole set of connections between workloads, and with networks outside.

mod csv;
mod dot;
mod listing;
mod mermaid;
mod names;
mod row;
mod table;

use clap::{Args, ValueEnum};
use policy_core::{
    compile::{Scope, compile},
    connections::Connections,
};
use policy_probe::{exit, terminal};

use crate::{error::Error, origin::OriginOptions, output, scope::ScopeOptions};
use listing::Listing;

const EXAMPLES: &str = "\
Examples:
  policyctl list -R -f deploy/
      every connection that the manifests of a repository allow
  policyctl list -f cluster.yaml -o csv > connections.csv
      for a spreadsheet
  policyctl list -k overlays/production -n shop -o markdown
      a namespace of a kustomization, and what it is connected to, for a pull request
  policyctl list -f cluster.yaml -o dot | dot -Tsvg > cluster.svg
      a picture, by Graphviz

Pods of one workload are one end; a row from a workload to itself is about its pods among each
other. A set of ports is exact: nothing is probed. \"all\" is every protocol and port, and ICMP.
Ports in brackets are allowed between some of the pods only. Networks outside of the cluster are
listed as the blocks that policies name.

Exit codes:
  0  listed
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    origin: OriginOptions,

    #[command(flatten)]
    scope: ScopeOptions,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: ListFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// A table for a comment on a pull request
    Markdown,
    /// For Graphviz
    Dot,
    /// For Markdown with pictures
    Mermaid,
}

/// Prints the list; the exit code.
pub(crate) fn main(arguments: &ListArguments) -> Result<u8, Error> {
    let origin = arguments.origin.read()?;
    let scope = arguments.scope.of(&origin)?;
    let manifests = &origin.manifests;
    let (desired, faults) = compile(&manifests.snapshot, Scope::Cluster);
    let (workloads, groups) = listing::groups(&manifests.snapshot);
    let listing = Listing { connections: Connections::new(&desired, &groups), workloads, scope };
    let warnings = manifests.warnings();
    let mut out = output::stream();
    match arguments.output {
        ListFormat::Table => table::text(&listing, &warnings, &mut out)?,
        ListFormat::Json => {
            output::Document::new(&listing, manifests).write(&mut out)?;
        }
        ListFormat::Csv => csv::write(&listing, &mut out)?,
        ListFormat::Markdown => table::markdown(&listing, &warnings, &mut out)?,
        ListFormat::Dot => dot::write(&listing, &warnings, &mut out)?,
        ListFormat::Mermaid => mermaid::write(&listing, &warnings, &mut out)?,
    }
    out.finish()?;
    let notes: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&notes);
    Ok(exit::FINE)
}
