//! `policy-agent lab`.

mod command;
mod file_changes;
mod hold;
mod orphans;
mod output;
mod progress;
mod signals;

use std::io;

use clap::{Args, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use policy_manifest::{Expectations, Manifests, Source};
use policy_probe::{Probe, exit, if_any, input, options::ProbeOptions, terminal};

use crate::{Order, Report, topology::Topology};
use policy_agent::{cli::format::Format, dataplane::Parts};
use progress::Line;
use signals::Signals;

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
  policy-agent lab -f cluster.yaml --hold
      edit the file and see the table change
  policy-agent lab -f cluster.yaml --run 'nsenter --net=$(jq -r .pods[0].netns $LAB) bash'
      a shell inside of a pod, with its policies in force
  policy-agent lab -f cluster.yaml --without ingress
      self-check: must end with 1, for then the wire is not what the compiler says

Exit codes:
  0  fine
  1  findings: an expectation not met, wire and compiler disagree, a probe lost
  2  bad input or usage
  3  the environment or the tool failed; also when probes fail before any policy is in force
  130, 143  ended by SIGINT, SIGTERM
  with --run, the command's own exit code, once it has run

While --run or --hold keep the lab, changes of the files are applied at once: policies, labels,
namespaces, Services and endpoints. Pods, nodes and hosts stay as they were built. A broken file is
reported, and what was last good stays in force. SIGINT ends --hold with 0, or with 1 where the last
table has findings.

The file that LAB names has all machines with the paths of their network namespaces:
  {\"nodes\": [{\"name\", \"netns\", \"addresses\", \"pins\"}],
   \"pods\": [{\"namespace\", \"name\", \"node\", \"netns\", \"interface\", \"peer\", \"addresses\"}],
   \"hosts\": [{\"name\", \"netns\", \"addresses\"}]}
A pod with hostNetwork has the namespace of its node, whose interface both of its ends are.

The lab needs root, Linux with BTF, and the program nft. All that it makes lives in network
namespaces that have no name and go away with the process, however it ends. What --run started and a
killed lab left running holds them still: the next lab ends it.";

/// Options of `policy-agent lab`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    options: ProbeOptions,

    /// How pods are joined to their nodes: as by the CNI plugin of this name
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Run this by `sh -c` while the lab stands, after the probes; LAB names a file that says where
    /// everything is
    #[arg(long, value_name = "CMD", conflicts_with = "hold")]
    run: Option<String>,

    /// Keep the lab until Ctrl-C; follow changes of the files, and draw the table again
    #[arg(long)]
    hold: bool,

    /// Self-check: leave a part of the dataplane out; the lab must notice, and end with 1
    #[arg(long, value_name = "PART", value_enum)]
    without: Vec<Part>,
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

/// Runs the lab and returns the exit code.
#[must_use]
pub fn run(arguments: Arguments) -> u8 {
    more_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.and_then(|runtime| runtime.block_on(live(arguments))).unwrap_or_else(|error| {
        terminal::error(&error);
        exit::FAILED
    })
}

/// Builds the lab, probes it, and keeps it as long as is asked for.
async fn live(arguments: Arguments) -> io::Result<u8> {
    let Arguments { options, topology, output, run, hold, without } = arguments;
    let (order, sources) = match order(&options, topology, parts(&without), hold || run.is_some()) {
        Ok(order) => order,
        Err(error) => return Ok(error.report()),
    };
    let ended = orphans::end()?;
    if ended > 0 {
        let what = "still ran of the commands of labs that were killed";
        terminal::notes(&[format!("{ended} processes {what}: they are ended")]);
    }
    let mut signals = Signals::open()?;
    let line = Line::new();
    let outcome = tokio::select! {
        biased;
        signal = signals.next() => return Ok(signals::code(signal)),
        outcome = crate::stand(order, &line) => outcome,
    };
    drop(line);
    let (lab, report) = match outcome {
        Ok(stood) => stood,
        Err(error) => {
            terminal::error(&error);
            return Ok(if error.is_input() { exit::INPUT } else { exit::FAILED });
        }
    };
    let code = told(&report, output);
    let stays = hold::Stay { lab, signals, options, sources, output };
    match run {
        Some(command) if code != exit::FAILED => stays.run(&command).await,
        None if hold => Ok(stays.hold(code).await),
        Some(_) | None => Ok(code),
    }
}

/// Reads everything; the texts come back too. A lab that stays may have nothing to probe.
fn order(
    options: &ProbeOptions,
    topology: Topology,
    parts: Parts,
    stays: bool,
) -> Result<(Order, Vec<Source>), input::InputError> {
    let sources = policy_files::read(&options.files)?;
    terminal::notes(&policy_files::notes(&options.files));
    let manifests = policy_manifest::read(&sources).map_err(input::InputError::Manifests)?;
    let expectations = input::expectations(options)?;
    let choose = if stays { probes_if_any } else { input::probes };
    let probes = choose(options, &manifests, &expectations)?;
    terminal::notes(&input::notes(&manifests));
    Ok((Order { manifests, probes, expectations, topology, parts }, sources))
}

/// Chooses the probes, sorted; no probe is one of the choices.
fn probes_if_any(
    options: &ProbeOptions,
    manifests: &Manifests,
    expectations: &Expectations,
) -> Result<Vec<Probe>, input::InputError> {
    match input::probes(options, manifests, expectations) {
        Err(input::InputError::Probes(errors)) => {
            if_any(Err(errors)).map_err(input::InputError::Probes)
        }
        chosen => chosen,
    }
}

/// Prints a report; the exit code that it asks for.
fn told(report: &Report, output: Format) -> u8 {
    if let Err(error) = output::print(report, output) {
        terminal::error(&error);
        return exit::FAILED;
    }
    if report.clean() { exit::FINE } else { exit::FINDINGS }
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
