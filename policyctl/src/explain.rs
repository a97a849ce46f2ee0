//! `policyctl explain`: why a connection is allowed or denied, and what would allow it.

mod all_ports;
mod answer;
mod fix;
mod flow;
mod patch;
mod text;
mod words;

use clap::Args;
use policy_core::{
    compile::{Scope, compile},
    desired::Desired,
    explain::{Explainer, Explanation},
    model::{Family, Protocol, Snapshot},
};
use policy_manifest::{End, Manifests};
use policy_probe::{Probe, Selection, choose, exit, input::InputError, options, terminal};

use crate::{
    error::Error,
    fix_error::FixError,
    named::Named,
    origin::{Origin, OriginOptions},
    output::{self, Paint, TextOrJson},
    scope,
};
use all_ports::AllPorts;
use answer::Answer;

const EXAMPLES: &str = "\
Examples:
  policyctl explain -f cluster.yaml --from frontend/web --to backend/api --port 80/TCP
      which rule allows it; or why no rule matches, and the smallest change that would allow it
  policyctl explain -f cluster.yaml --from frontend/web --to service/default/kubernetes --port 443
      the same for a Service, at each of its backends
  policyctl explain -n shop --from web --to db --port 5432
      two pods of one namespace of the cluster
  policyctl explain -R -f deploy/ -n shop --from deploy/web --to svc/db
      a Deployment and a Service of a repository, at every port
  policyctl explain --flow \"$(grep 10.44.2.3 flows.jsonl | tail -n 1)\"
      a line of the flow log
  policyctl explain -R -f deploy/ --from shop/web --to shop/db --port 5432 --fix
      adds what is missing to the policy's file; the changed policies are judged before they are
      written
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml \\
    | policyctl explain -f - --from frontend/web --to 203.0.113.7 --port 443/TCP -o json
      for another program

Exit codes:
  0  explained, whatever the verdict
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    origin: OriginOptions,

    /// Namespace of pods that are named without one; by default that of the kubeconfig's context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Who opens the connection: POD, NAMESPACE/POD, deploy/NAME, deploy/NAMESPACE/NAME, host/NAME
    /// or an address
    #[arg(long, value_name = "END", required_unless_present = "flow")]
    from: Option<Named>,

    /// Who it is for: as --from, or svc/NAME or svc/NAMESPACE/NAME
    #[arg(long, value_name = "END", required_unless_present = "flow")]
    to: Option<Named>,

    /// The port, as in 80/TCP or 53/UDP; without it, every port is explained
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = options::port)]
    port: Option<(u16, Protocol)>,

    /// Explain the connection of a line of the flow log
    #[arg(long, value_name = "LINE", conflicts_with_all = ["from", "to", "port"])]
    flow: Option<String>,

    /// Add what is missing to the policies' files
    #[arg(long)]
    fix: bool,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TextOrJson,
}

/// A question: who connects to whom, and at which port.
struct Asked {
    from: Vec<End>,
    to: Vec<End>,
    port: Option<(u16, Protocol)>,
}

/// Prints the explanation; the exit code.
pub(crate) fn main(arguments: &ExplainArguments) -> Result<u8, Error> {
    let origin = arguments.origin.read()?;
    let asked = arguments.asked(&origin)?;
    let manifests = &origin.manifests;
    let snapshot = &manifests.snapshot;
    let (desired, faults) = compile(snapshot, Scope::Cluster);
    let explainer = Explainer::new(snapshot, &desired);
    let port = asked.port;
    let (probes, equal) = different(&explainer, asked.probes(manifests)?);
    match port {
        Some(_) => one_port(arguments, manifests, &desired, &probes)?,
        None if arguments.fix => return Err(FixError::NoPort.into()),
        None => {
            let of = |probe| AllPorts::of(snapshot, &desired, &explainer, probe);
            print_all_ports(arguments, manifests, &probes.iter().map(of).collect::<Vec<_>>())?;
        }
    }
    if equal > 0 {
        let note = format!("{equal} more pairs of pods have the same verdict by the same policies");
        terminal::notes(&[note]);
    }
    let notes: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&notes);
    Ok(exit::FINE)
}

impl ExplainArguments {
    fn asked(&self, origin: &Origin) -> Result<Asked, Error> {
        let manifests = &origin.manifests;
        if let Some(line) = &self.flow {
            let (from, to, port) = flow::read(line, &manifests.snapshot)?;
            return Ok(Asked { from: vec![from], to: vec![to], port: Some(port) });
        }
        let own = scope::own(self.namespace.as_deref(), origin);
        let ends = |named: &Option<Named>| match named {
            Some(named) => named.ends(manifests, own),
            None => Ok(Vec::new()),
        };
        Ok(Asked { from: ends(&self.from)?, to: ends(&self.to)?, port: self.port })
    }
}

impl Asked {
    /// A probe for each pair of different ends; where the question has no port, at any port.
    fn probes(self, manifests: &Manifests) -> Result<Vec<Probe>, Error> {
        let Self { mut from, mut to, port } = self;
        if from != to {
            // A second pod of a made-up workload says nothing new to other ends.
            for ends in [&mut from, &mut to] {
                let all = ends.clone();
                ends.retain(|end| match end {
                    End::Pod(name) => {
                        let first = manifests.made_up.copies.get(name);
                        first.is_none_or(|first| !all.contains(&End::Pod(first.clone())))
                    }
                    End::Host(_) | End::Service(_) | End::Address(_) => true,
                });
            }
        } else if let [end] = from.as_slice() {
            return Err(Error::SameEnd { end: end.clone() });
        }
        let ports = vec![port.unwrap_or((1, Protocol::Tcp))];
        let chosen =
            choose(manifests, &Selection { ports, from, to, ..Selection::default() }, None);
        let mut probes = chosen.map_err(InputError::Probes)?;
        probes.retain(|probe| probe.from != probe.to);
        Ok(probes)
    }
}

/// The first probe of each verdict, and how many others have one of these verdicts by the same
/// rules.
fn different(explainer: &Explainer<'_>, probes: Vec<Probe>) -> (Vec<Probe>, usize) {
    let (mut seen, mut equal): (Vec<(Family, Option<Explanation>)>, usize) = (Vec::new(), 0);
    let mut first = Vec::new();
    for probe in probes {
        let verdict = (probe.family, explainer.explain(&probe.question()));
        if seen.contains(&verdict) {
            equal += 1;
        } else {
            seen.push(verdict);
            first.push(probe);
        }
    }
    (first, equal)
}

/// Explains one port, and writes the fix if that is wanted.
fn one_port(
    arguments: &ExplainArguments,
    manifests: &Manifests,
    desired: &Desired,
    probes: &[Probe],
) -> Result<(), Error> {
    let snapshot: &Snapshot = &manifests.snapshot;
    let answers: Vec<Answer> =
        probes.iter().map(|probe| Answer::of(snapshot, desired, probe)).collect();
    match arguments.output {
        TextOrJson::Text => {
            let text = text::render(&answers, Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &manifests.warnings())?;
        }
        TextOrJson::Json => {
            let answers = answer::Answers { answers: &answers };
            output::print(&output::Document::new(&answers, manifests).json()?)?;
        }
    }
    if arguments.fix {
        let (changes, after) = fix::find(snapshot, probes)?;
        let written = fix::write(manifests, &changes, &after)?;
        if written.is_empty() {
            terminal::notes(&["the connection is allowed; nothing was changed".to_owned()]);
        }
        terminal::notes(&written);
    }
    Ok(())
}

fn print_all_ports(
    arguments: &ExplainArguments,
    manifests: &Manifests,
    answers: &[AllPorts],
) -> Result<(), Error> {
    match arguments.output {
        TextOrJson::Text => {
            let paint = Paint::of_stdout();
            let blocks: Vec<String> = answers.iter().map(|answer| answer.text(paint)).collect();
            output::print_warned(&blocks.join("\n"), output::WARNING, &manifests.warnings())
        }
        TextOrJson::Json => {
            let answers = answer::Answers { answers };
            output::print(&output::Document::new(&answers, manifests).json()?)
        }
    }
}
