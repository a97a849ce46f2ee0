//! `policyctl explain`: why a connection is allowed or denied, and what would allow it.

mod answer;
mod text;
mod words;

use clap::Args;
use policy_core::{
    compile::{Scope, compile},
    model::Protocol,
};
use policy_manifest::Expectations;
use policy_probe::{exit, input, options, options::ProbeOptions, terminal};

use crate::{
    error::Error,
    origin, output,
    output::{Format, Paint},
    scope::{self, Named},
};
use answer::Answer;

const EXAMPLES: &str = "\
Examples:
  policyctl explain -f cluster.yaml --from frontend/web --to backend/api --port 80/TCP
      which rule allows it; or why no rule matches, and the smallest change that would allow it
  policyctl explain -f cluster.yaml --from frontend/web --to service/default/kubernetes --port 443
      the same for a Service, at each of its backends
  policyctl explain -n shop --from web --to db --port 5432
      two pods of one namespace of the cluster
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml \\
    | policyctl explain -f - --from frontend/web --to 203.0.113.7 --port 443/TCP -o json
      for another program

Exit codes:
  0  explained, whatever the verdict
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    origin: origin::Options,

    /// Namespace of pods that are named without one; by default that of the kubeconfig's context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Who opens the connection: POD, NAMESPACE/POD, host/NAME or an address
    #[arg(long, value_name = "END")]
    from: Named,

    /// Who it is for: POD, NAMESPACE/POD, host/NAME, service/NAMESPACE/NAME or an address
    #[arg(long, value_name = "END")]
    to: Named,

    /// The port, as in 80/TCP or 53/UDP
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = options::port)]
    port: (u16, Protocol),

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the explanation; the exit code.
pub(crate) fn main(arguments: &Arguments) -> Result<u8, Error> {
    let Arguments { origin, namespace, from, to, port, output } = arguments;
    let origin = origin.read()?;
    let own = scope::own(namespace.as_deref(), &origin);
    let (from, to) = (from.end(own), to.end(own));
    if from == to {
        return Err(Error::SameEnd { end: from });
    }
    let options = ProbeOptions {
        ports: vec![*port],
        from: vec![from],
        to: vec![to],
        ..ProbeOptions::default()
    };
    let probes = input::probes(&options, &origin.manifests, &Expectations::default())?;
    let snapshot = &origin.manifests.snapshot;
    let (desired, faults) = compile(snapshot, Scope::Cluster);
    let answers: Vec<Answer> =
        probes.iter().map(|probe| Answer::of(snapshot, &desired, probe)).collect();
    match output {
        Format::Text => {
            let text = text::render(&answers, Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &origin.manifests.warnings())?;
        }
        Format::Json => {
            let answers = answer::Answers { answers: &answers };
            output::print(&output::Document::new(&answers, &origin.manifests).json()?)?;
        }
    }
    let notes: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&notes);
    Ok(exit::FINE)
}
