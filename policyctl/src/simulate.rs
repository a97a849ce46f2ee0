//! `policyctl simulate`: the truth table that the compiler gives.

mod junit;
mod markdown;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use policy_core::model::Protocol;
use policy_probe::{
    Selection, check, choose, exit,
    input::{self, InputError},
    options, terminal, text,
};

use crate::{
    copies,
    error::Error,
    named::Named,
    origin::{Origin, OriginOptions},
    output::{self, Document},
    scope::ScopeOptions,
    truth::{self, Truth},
};

const EXAMPLES: &str = "\
Examples:
  policyctl simulate -f cluster.yaml
      every pod to every pod at every declared port, as a table
  policyctl simulate -f cluster.yaml --expect cluster.expect.yaml -o junit > report.xml
      the same, compared with what you expect; for CI
  policyctl simulate -n shop
      pods of a namespace of the cluster, to and from every pod
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml | policyctl simulate -f -
      what the policies in a dump of a cluster allow
  policyctl simulate -f cluster.yaml --from frontend/web --to 10.0.0.7 --port 443/TCP -o json
      one question, for another program

Exit codes:
  0  done, and every expectation is met
  1  an expectation is not met
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SimulateArguments {
    #[command(flatten)]
    origin: OriginOptions,

    #[command(flatten)]
    scope: ScopeOptions,

    /// File of expectations that the table must meet
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,

    /// Probe this port instead of the declared ones, as in 80/TCP or 53/UDP
    #[arg(long = "port", value_name = "PORT[/PROTOCOL]", value_parser = options::port)]
    ports: Vec<(u16, Protocol)>,

    /// Probe from here instead of from every pod: POD, NAMESPACE/POD, deploy/NAME, host/NAME or an
    /// address
    #[arg(long, value_name = "END")]
    from: Vec<Named>,

    /// Probe to here: POD, NAMESPACE/POD, deploy/NAME, svc/NAME, host/NAME or an address
    #[arg(long, value_name = "END")]
    to: Vec<Named>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: SimulateFormat,
}

/// Form of the truth table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SimulateFormat {
    /// For people
    #[default]
    Table,
    /// For programs; the same schema as that of `policy-agent lab`
    Json,
    /// The same schema as YAML
    Yaml,
    /// A test case for each expectation, or for each row where there are none
    Junit,
    /// A table for a comment on a pull request
    Markdown,
}

impl SimulateArguments {
    /// What to probe; a pod without a namespace is of the one that the options or the kubeconfig
    /// name.
    fn selection(&self, origin: &Origin) -> Result<Selection, Error> {
        let own = self.scope.own(origin);
        let ends = |named: &[Named]| {
            let ends = named.iter().map(|one| one.ends(&origin.manifests, own));
            let ends = ends.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, Error>(ends.concat())
        };
        let (from, to) = (ends(&self.from)?, ends(&self.to)?);
        Ok(Selection { ports: self.ports.clone(), from, to })
    }
}

/// Prints the table; the exit code.
pub(crate) fn main(arguments: &SimulateArguments) -> Result<u8, Error> {
    let origin = arguments.origin.read()?;
    let manifests = &origin.manifests;
    let scope = arguments.scope.of(&origin)?;
    let selection = arguments.selection(&origin)?;
    let expectations = input::expectations(arguments.expect.as_deref())?;
    let chosen = choose(manifests, &selection, Some(&expectations));
    let mut probes = chosen.map_err(InputError::Probes)?;
    let asked = [&selection.from[..], &selection.to[..]].concat();
    if asked.is_empty() {
        scope.narrow(&mut probes, &expectations);
    }
    copies::retain(&mut probes, &manifests.made_up, &asked);
    let Truth { mut table, notes } = truth::of(&manifests.snapshot, &probes);
    copies::rename(&mut table, &manifests.made_up, &asked);
    let mismatches = check(&table.probes, &expectations);
    let expected = arguments.expect.is_some().then_some(&expectations);
    match arguments.output {
        SimulateFormat::Table => {
            let text = text(&table, &mismatches, terminal::style());
            output::print_warned(&text, output::WARNING, &manifests.warnings())?;
        }
        SimulateFormat::Json => output::print(&Document::new(&table, manifests).json()?)?,
        SimulateFormat::Yaml => {
            output::print(&serde_saphyr::to_string(&Document::new(&table, manifests))?)?;
        }
        SimulateFormat::Junit => {
            let warnings = manifests.warnings();
            output::print(&junit::render(&table, expected, &mismatches, &warnings)?)?;
        }
        SimulateFormat::Markdown => {
            let text = markdown::render(&table, &mismatches);
            output::print_warned(&text, output::MARKDOWN_WARNING, &manifests.warnings())?;
        }
    }
    terminal::notes(&notes);
    // The other forms have them on standard output.
    if matches!(arguments.output, SimulateFormat::Json | SimulateFormat::Yaml) {
        for mismatch in &mismatches {
            terminal::line(&mismatch.to_string());
        }
    }
    Ok(if mismatches.is_empty() { exit::FINE } else { exit::FINDINGS })
}
