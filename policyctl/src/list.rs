//! `policyctl list`: the whole set of connections between workloads, and with networks outside.

mod controllers;
mod csv;
mod dot;
mod exposure;
mod html;
mod listing;
mod mermaid;
mod names;
mod row;
mod svg;
mod table;

use clap::{Args, ValueEnum};
use policy_core::{
    compile::{Scope, compile},
    connections::Connections,
};
use policy_manifest::Manifests;
use policy_probe::{exit, terminal};

use crate::{error::Error, origin::OriginOptions, output, scope::ScopeOptions, workload};
use controllers::Controllers;
use listing::Listing;
pub(crate) use row::bracketed;

const EXAMPLES: &str = "\
Examples:
  policyctl list -R -f deploy/
      every connection that the manifests of a repository allow
  policyctl list -f cluster.yaml -o csv > connections.csv
      for a spreadsheet
  policyctl list -k overlays/production -n shop -o markdown
      a namespace of a kustomization, and what it is connected to, for a pull request
  policyctl list -f cluster.yaml -o html > connections.html
      a page with a table to search, and a picture
  policyctl list -f cluster.yaml -o dot | dot -Tsvg > cluster.svg
      a picture, by Graphviz
  policyctl list -R -f deploy/ --exposure
      what the workloads admit from, or send to, places that are not in the manifests

Pods of one workload are one end; a row from a workload to itself is about its pods among each
other. A set of ports is exact: nothing is probed. \"all\" is every protocol and port, and ICMP.
Ports in brackets are allowed between some of the pods only. Networks outside of the cluster are
listed as the blocks that policies name. \"outside through ingress controller\" is what an Ingress
or a route of the Gateway API sends to a workload, as far as policies admit it.

--exposure lists places instead: the peers of the policies that select a workload, the whole cluster
(every other pod), and the blocks outside. A place with the ports of the whole cluster has no row,
and neither has one that pods of the manifests stand for. \"Not protected\" is what no policy selects.

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

    /// List what workloads admit from, or send to, places that are not in the manifests
    #[arg(long)]
    exposure: bool,

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
    /// A picture
    Svg,
    /// A page with a table and a picture, which loads nothing
    Html,
}

/// Prints the list; the exit code.
pub(crate) fn main(arguments: &ListArguments) -> Result<u8, Error> {
    let origin = arguments.origin.read()?;
    let scope = arguments.scope.of(&origin)?;
    let manifests = &origin.manifests;
    if arguments.exposure {
        return print_exposure(arguments.output, manifests, &scope);
    }
    let (workloads, mut groups) = workload::groups(&manifests.snapshot);
    let controllers = Controllers::new(manifests, &mut groups);
    let (desired, faults) = compile(&controllers.manifests.snapshot, Scope::Cluster);
    let connections = Connections::new(&desired, &groups);
    let listing = Listing { connections, workloads, scope, controllers: &controllers };
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
        ListFormat::Svg => svg::write(&listing, &warnings, &mut out)?,
        ListFormat::Html => html::write(&listing, &warnings, &mut out)?,
    }
    out.finish()?;
    let mut notes: Vec<String> = faults.iter().map(ToString::to_string).collect();
    notes.extend(controllers.notes(&listing.workloads, &listing.connections));
    terminal::notes(&notes);
    Ok(exit::FINE)
}

/// Prints what workloads are exposed to; the exit code.
fn print_exposure(
    format: ListFormat,
    manifests: &Manifests,
    scope: &crate::scope::Scope,
) -> Result<u8, Error> {
    let find = || exposure::find(manifests, scope);
    let warnings = manifests.warnings();
    let mut out = output::stream();
    match format {
        ListFormat::Json => output::Document::new(&find(), manifests).write(&mut out)?,
        ListFormat::Csv => exposure::csv(&find(), &mut out)?,
        ListFormat::Markdown => exposure::markdown(&find(), &warnings, &mut out)?,
        ListFormat::Table => exposure::table(&find(), &warnings, &mut out)?,
        ListFormat::Dot | ListFormat::Mermaid | ListFormat::Svg | ListFormat::Html => {
            return Err(Error::NoPicture);
        }
    }
    out.finish()?;
    Ok(exit::FINE)
}
