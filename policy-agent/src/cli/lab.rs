//! `policy-agent lab`.

mod output;

use clap::{Args, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use policy_cli::{exit, input, options::ProbeOptions, terminal};
use tokio::signal::unix::{SignalKind, signal};

use super::progress::Line;
use crate::{
    dataplane::Parts,
    lab::{self, Order, topology::Topology},
};

const EXAMPLES: &str = "\
Examples:
  policy-agent lab -f cluster.yaml
      every pod to every pod at every declared port, as a table
  policy-agent lab -f cluster.yaml --expect cluster.expect.yaml
      the same, held against what you expect; for CI
  kubectl get ns,no,po,svc,endpointslices,netpol -A -o yaml | policy-agent lab -f -
      a cluster's policies, without the cluster
  policy-agent lab -f cluster.yaml --from web/frontend --to 10.0.0.7 --port 443/TCP -o json
      one question, for another program
  policy-agent lab -f cluster.yaml --without ingress
      self-check: must end with 1, for then the wire is not what the compiler says

Exit codes:
  0  fine
  1  findings: an expectation not met, wire and compiler disagree, a probe lost
  2  bad input or usage
  3  the environment or the tool failed; also when probes fail before any policy is in force
  130, 143  ended by SIGINT, SIGTERM

The lab needs root, Linux with BTF, and the program nft. All that it makes lives in network
namespaces that have no name and go away with the process, however it ends.";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: ProbeOptions,

    /// How pods are joined to their nodes: as by the CNI plugin of this name
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Self-check: leave a part of the dataplane out; the lab must notice, and end with 1
    #[arg(long, value_name = "PART", value_enum)]
    without: Vec<Part>,
}

/// Form of the truth table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// A part of the dataplane that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The classifier of packets to a pod
    Ingress,
    /// The classifier of packets from a pod
    Egress,
    /// IPv6
    Ipv6,
    /// The check of source addresses
    AntiSpoofing,
}

/// Runs the lab; the exit code.
pub(super) fn main(arguments: Arguments) -> u8 {
    let Arguments { options, topology, output, without } = arguments;
    let input = match input::read(&options) {
        Ok(input) => input,
        Err(error) => return error.refuse(),
    };
    terminal::notes(&input::notes(&input.manifests));
    let order = Order {
        manifests: input.manifests,
        probes: input.probes,
        expectations: input.expectations,
        topology,
        parts: parts(&without),
    };
    match stand(order) {
        Ok(Ending::Done(Ok(report))) => {
            if let Err(error) = output::print(&report, output) {
                terminal::error(&error);
                return exit::FAILED;
            }
            if report.clean() { exit::FINE } else { exit::FINDINGS }
        }
        Ok(Ending::Done(Err(error))) => {
            terminal::error(&error);
            if error.is_input() { exit::INPUT } else { exit::FAILED }
        }
        Ok(Ending::Signal(number)) => 128 + number,
        Err(error) => {
            terminal::error(&error);
            exit::FAILED
        }
    }
}

/// How a lab came to its end.
enum Ending {
    Done(Result<lab::Report, lab::Error>),
    Signal(u8),
}

/// Runs the lab until it is done or a signal ends it, which takes it down in good order.
fn stand(order: Order) -> std::io::Result<Ending> {
    more_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let line = Line::new();
        Ok(tokio::select! {
            biased;
            _ = interrupt.recv() => Ending::Signal(2),
            _ = terminate.recv() => Ending::Signal(15),
            outcome = lab::run(order, &line) => Ending::Done(outcome),
        })
    })
}

/// Asks for as many file descriptors as the process may have: every namespace, server and probe
/// takes some. Where that is refused, a large lab will say what it could not open.
fn more_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn parts(without: &[Part]) -> Parts {
    let has = |part| !without.contains(&part);
    Parts {
        ingress: has(Part::Ingress),
        egress: has(Part::Egress),
        ipv6: has(Part::Ipv6),
        anti_spoofing: has(Part::AntiSpoofing),
    }
}
