//! `policyctl simulate`: the truth table that the compiler gives.

mod junit;
mod markdown;
mod stream;

use std::{cell::RefCell, path::PathBuf};

use clap::{Args, ValueEnum};
use policy_core::{compile, model::Protocol};
use policy_manifest::{End, Expectations, Manifests};
use policy_probe::{
    ChosenProbes, Mismatch, Probe, Selection, Table, check, exit,
    input::{self, InputError},
    options, terminal, text,
};

use crate::{
    copies,
    error::Error,
    named::Named,
    origin::{Origin, OriginOptions},
    output::{self, Document},
    scope::{Scope, ScopeOptions},
    truth::{self, ProbeJudge, Truth},
    undeclared,
};
use stream::{StreamFound, StreamedTable};

/// Probes of a form that has the whole table at once, at most. More are read by programs, not by people.
const MOST_PROBES: usize = 250_000;

const EXAMPLES: &str = "\
Examples:
  policyctl simulate -f cluster.yaml
      every pod to every pod at every declared port, and at one undeclared port of each protocol
  policyctl simulate -f cluster.yaml --expect cluster.expect.yaml -o junit > report.xml
      the same, compared with what you expect; for CI
  policyctl simulate -n shop
      pods of a namespace of the cluster, to and from every pod
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml | policyctl simulate -f -
      what the policies in a dump of a cluster allow
  policyctl simulate -f cluster.yaml --from frontend/web --to 10.0.0.7 --port 443/TCP -o json
      one question, for another program

A port that no pod declares, and that no policy and no Service names, stands for every such port.
With --port or --expect it is not probed.

Only -o json prints more than 250,000 probes.

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
        // Expectations are about declared ports: a `default` would mean something else otherwise.
        let further_ports = match (self.ports.as_slice(), &self.expect) {
            ([], None) => undeclared::ports(&origin.manifests.snapshot),
            _ => Vec::new(),
        };
        Ok(Selection { ports: self.ports.clone(), further_ports, from, to })
    }
}

/// Prints the table; the exit code.
pub(crate) fn main(arguments: &SimulateArguments) -> Result<u8, Error> {
    let origin = arguments.origin.read()?;
    let manifests = &origin.manifests;
    let scope = arguments.scope.of(&origin)?;
    let selection = arguments.selection(&origin)?;
    let expectations = input::expectations(arguments.expect.as_deref())?;
    let chosen = ChosenProbes::new(manifests, &selection, Some(&expectations));
    let chosen = chosen.map_err(InputError::Probes)?;
    let asked = [&selection.from[..], &selection.to[..]].concat();
    if arguments.expect.is_none() && arguments.output == SimulateFormat::Json {
        return stream(&chosen, manifests, &asked, &scope);
    }
    let mut probes = all(&chosen)?;
    if asked.is_empty() {
        scope.retain(&mut probes, &expectations);
        scope.note_if_empty(probes.len());
    }
    copies::retain(&mut probes, &manifests.made_up, &asked);
    let Truth { mut table, notes } = truth::of(&manifests.snapshot, probes);
    copies::rename(&mut table, &manifests.made_up, &asked);
    let mismatches = check(&table.probes, &expectations);
    let expected = arguments.expect.is_some().then_some(&expectations);
    print(arguments.output, &table, expected, &mismatches, manifests)?;
    terminal::notes(&notes);
    // The other forms have them on standard output.
    if matches!(arguments.output, SimulateFormat::Json | SimulateFormat::Yaml) {
        for mismatch in &mismatches {
            terminal::line(&mismatch.to_string());
        }
    }
    Ok(if mismatches.is_empty() { exit::FINE } else { exit::FINDINGS })
}

/// Every chosen probe.
fn all(chosen: &ChosenProbes<'_>) -> Result<Vec<Probe>, Error> {
    let mut probes = Vec::new();
    for from in chosen.sources() {
        probes.extend(chosen.of_source(from));
        if probes.len() > MOST_PROBES {
            return Err(Error::TooManyProbes { most: MOST_PROBES });
        }
    }
    probes.extend_from_slice(chosen.listed());
    probes.sort();
    probes.dedup();
    if probes.is_empty() {
        return Err(InputError::Probes(vec![chosen.nothing()]).into());
    }
    Ok(probes)
}

/// Prints the table as JSON, row by row; the exit code.
fn stream(
    chosen: &ChosenProbes<'_>,
    manifests: &Manifests,
    asked: &[End],
    scope: &Scope,
) -> Result<u8, Error> {
    if chosen.sources().iter().all(|from| chosen.of_source(from).is_empty()) {
        return Err(InputError::Probes(vec![chosen.nothing()]).into());
    }
    let (desired, faults) = compile::compile(&manifests.snapshot, compile::Scope::Cluster);
    let table = StreamedTable {
        chosen,
        judge: ProbeJudge::new(&manifests.snapshot, &desired),
        made_up: &manifests.made_up,
        asked,
        scope: asked.is_empty().then_some(scope),
        found: RefCell::default(),
    };
    let mut out = output::stream();
    Document::new(&table, manifests).write(&mut out)?;
    out.finish()?;
    let StreamFound { rows, notes } = table.found.take();
    if asked.is_empty() {
        scope.note_if_empty(rows);
    }
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&[faults, notes].concat());
    Ok(exit::FINE)
}

/// Prints the table in one of its forms.
fn print(
    format: SimulateFormat,
    table: &Table,
    expected: Option<&Expectations>,
    mismatches: &[Mismatch],
    manifests: &Manifests,
) -> Result<(), Error> {
    let warnings = manifests.warnings();
    match format {
        SimulateFormat::Table => {
            let text = text(table, mismatches, terminal::style());
            output::print_warned(&text, output::WARNING, &warnings)
        }
        SimulateFormat::Json => output::print(&Document::new(table, manifests).json()?),
        SimulateFormat::Yaml => {
            output::print(&serde_saphyr::to_string(&Document::new(table, manifests))?)
        }
        SimulateFormat::Junit => {
            output::print(&junit::render(table, expected, mismatches, &warnings)?)
        }
        SimulateFormat::Markdown => {
            let text = markdown::render(table, mismatches);
            output::print_warned(&text, output::MARKDOWN_WARNING, &warnings)
        }
    }
}
