//! `policyctl explain`: why a connection passes or does not.

mod answer;
mod text;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use policy_cli::{exit, input, options, options::ProbeOptions, terminal};
use policy_core::{
    compile::{Scope, compile},
    model::Protocol,
};
use policy_manifest::End;

use crate::{error::Error, output};
use answer::Answer;

const EXAMPLES: &str = "\
Examples:
  policyctl explain -f cluster.yaml --from frontend/web --to backend/api --port 80/TCP
      which rule allows it, or what each rule lacks and the smallest change that would allow it
  policyctl explain -f cluster.yaml --from web/frontend --to service/default/kubernetes --port 443
      the same for a Service, at each of its backends
  kubectl get ns,no,po,svc,endpointslices,netpol -A -o yaml \\
    | policyctl explain -f - --from web/frontend --to 203.0.113.7 --port 443/TCP -o json
      for another program

Exit codes:
  0  fine, whatever the verdict
  2  bad input or usage
  3  the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Manifests: a file, a folder (its .yaml, .yml and .json files, but no *.expect.yaml), or -
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Who opens the connection: NAMESPACE/POD, host/NAME or an address
    #[arg(long, value_name = "END")]
    from: End,

    /// Who is meant: NAMESPACE/POD, host/NAME, service/NAMESPACE/NAME or an address
    #[arg(long, value_name = "END")]
    to: End,

    /// At which port, as in 80/TCP or 53/UDP
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = options::port)]
    port: (u16, Protocol),

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Prints the explanation; the exit code.
pub(crate) fn main(arguments: &Arguments) -> Result<u8, Error> {
    let Arguments { files, from, to, port, output } = arguments;
    let input = input::read(&ProbeOptions {
        files: files.clone(),
        expect: None,
        ports: vec![*port],
        from: vec![from.clone()],
        to: vec![to.clone()],
    })?;
    let snapshot = &input.manifests.snapshot;
    let (desired, faults) = compile(snapshot, Scope::Cluster);
    let answers: Vec<Answer> =
        input.probes.iter().map(|probe| Answer::of(snapshot, &desired, probe)).collect();
    match output {
        Format::Text => output::print(&text::render(&answers, terminal::style().colour))?,
        Format::Json => output::print(&output::json(&answer::Document { answers: &answers })?)?,
    }
    let notes: Vec<String> = faults.iter().map(crate::truth::fault).collect();
    terminal::notes(&notes);
    Ok(exit::FINE)
}
