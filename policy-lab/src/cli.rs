//! The command `policy-agent lab`.
//!
//! Input: options. Output: the truth table on standard output, notes and findings on standard error,
//! and an exit code. With `--run` or `--hold` the lab stays after its probes and follows its files.

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
use policy_agent::dataplane::ActiveParts;
use policy_core::model::PerDirection;
use policy_manifest::{Expectations, Manifests, Source};
use policy_probe::{
    Probe, exit, if_any, input,
    options::{EnforcementOptions, ProbeOptions, TableFormat},
    terminal,
};

use crate::{LabConfig, Report, topology::Topology};
use progress::ProgressLine;
use signals::Signals;

const HELP: &str = "\
Examples:
  policy-agent lab -f cluster.yaml
      probe every declared port from every pod, and print the truth table
  policy-agent lab -f cluster.yaml --expect cluster.expect.yaml
      compare the truth table with your expectations, for example in CI
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml \\
    | policy-agent lab -f -
      test the policies of a cluster without the cluster
  policy-agent lab -f cluster.yaml --from frontend/web --to 10.0.0.7 --port 443/TCP -o json
      run one probe and print JSON
  policy-agent lab -f cluster.yaml --hold
      edit the file and watch the table change
  policy-agent lab -f cluster.yaml --run 'nsenter --net=$(jq -r .pods[0].netns $LAB) bash'
      open a shell in the network of a pod, with its policies in force
  policy-agent lab -f cluster.yaml --without ingress
      self-check: the lab must end with 1, because the wire no longer matches the compiler

Exit codes:
  0  no findings
  1  findings: an expectation is not met, wire and compiler disagree, or a probe is lost
  2  wrong input or usage
  3  the environment or the lab failed; also when a probe fails before any policy is in force
  130, 143  ended by SIGINT or SIGTERM
  with --run, the exit code of the command, once it has run

With --run or --hold the lab follows changes of the files: policies, labels, namespaces, Services
and endpoints. Pods, nodes and hosts stay as they were built. A file with an error is reported, and
the last good state stays in force. SIGINT ends --hold with 0, or with 1 if the last table has
findings.

The file that LAB names lists all machines with the paths of their network namespaces:
  {\"nodes\": [{\"name\", \"netns\", \"addresses\", \"pins\"}],
   \"pods\": [{\"namespace\", \"name\", \"node\", \"netns\", \"interface\", \"peer\", \"addresses\"}],
   \"hosts\": [{\"name\", \"netns\", \"addresses\"}]}
A pod with hostNetwork has the network namespace and the interface of its node.

The lab needs root, Linux with BTF, and the program nft. Its network namespaces have no names, and
the kernel removes them when the process ends, however it ends. A command that --run started may
survive a lab that is killed, and then keeps the namespaces; the next lab ends that command.";

/// Options of `policy-agent lab`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub struct Arguments {
    #[command(flatten)]
    options: ProbeOptions,

    /// Join pods to their nodes as the CNI plugin of this name does
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,

    /// Format of the truth table on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,

    /// After the probes, run CMD with `sh -c`; LAB names a JSON file that lists all machines
    #[arg(long, value_name = "CMD", conflicts_with = "hold")]
    run: Option<String>,

    /// After the probes, keep the lab until Ctrl-C, and probe after each change of the files
    #[arg(long)]
    hold: bool,

    /// Self-check: leave out a part of the dataplane; the lab must notice and end with 1
    #[arg(long, value_name = "PART", value_enum)]
    without: Vec<Part>,

    #[command(flatten)]
    enforcement: EnforcementOptions,
}

/// A part of the dataplane that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The program for packets to a pod
    Ingress,
    /// The program for packets from a pod
    Egress,
    /// Every check of IPv6 packets
    Ipv6,
    /// The check of source addresses (anti-spoofing)
    AntiSpoofing,
}

/// Runs the lab and returns the exit code.
#[must_use]
pub fn run(arguments: Arguments) -> u8 {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.and_then(|runtime| runtime.block_on(run_lab(arguments))).unwrap_or_else(|error| {
        terminal::error(&error);
        exit::FAILED
    })
}

/// Builds the lab, probes it, and keeps it for `--run` or `--hold`.
async fn run_lab(arguments: Arguments) -> io::Result<u8> {
    let Arguments { options, topology, output, run, hold, without, enforcement } = arguments;
    let stays = hold || run.is_some();
    let lab = LabConfig {
        topology,
        parts: parts(&without),
        intent: enforcement.into(),
        ..LabConfig::default()
    };
    let (config, sources) = match read_config(&options, lab, stays) {
        Ok(read) => read,
        Err(error) => return Ok(error.report()),
    };
    let ended = orphans::end().map_err(io::Error::other)?;
    if ended > 0 {
        terminal::notes(&[format!("ended {ended} processes that killed labs had left running")]);
    }
    let mut signals = Signals::open()?;
    let line = ProgressLine::new();
    let outcome = tokio::select! {
        biased;
        signal = signals.next() => return Ok(signals::code(signal)),
        outcome = crate::build_and_probe(config, &line) => outcome,
    };
    drop(line);
    let (lab, report) = match outcome {
        Ok(built) => built,
        Err(error) => {
            terminal::error(&error);
            return Ok(if error.is_input() { exit::INPUT } else { exit::FAILED });
        }
    };
    let code = print_report(&report, output);
    let running = hold::RunningLab { lab, signals, options, sources, output };
    match run {
        Some(command) if code != exit::FAILED => running.run_command(&command).await,
        None if hold => Ok(running.hold(code).await),
        Some(_) | None => Ok(code),
    }
}

/// Reads the files and chooses the probes of a lab; returns the texts of the manifests too.
///
/// A lab that stays may have no probes.
fn read_config(
    options: &ProbeOptions,
    lab: LabConfig,
    stays: bool,
) -> Result<(LabConfig, Vec<Source>), input::InputError> {
    let sources = policy_files::read(&options.files)?;
    terminal::notes(&policy_files::notes(&options.files));
    let manifests = policy_manifest::read(&sources).map_err(input::InputError::Manifests)?;
    let expectations = input::expectations(options.expect.as_deref())?;
    let choose = if stays { probes_if_any } else { input::probes };
    let probes = choose(options, &manifests, &expectations)?;
    terminal::notes(&input::notes(&manifests));
    Ok((LabConfig { manifests, probes, expectations, ..lab }, sources))
}

/// Chooses the probes, sorted; unlike [`input::probes`] it accepts that there are none.
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

/// Prints a report and returns its exit code.
fn print_report(report: &Report, output: TableFormat) -> u8 {
    if let Err(error) = output::print(report, output) {
        terminal::error(&error);
        return exit::FAILED;
    }
    if report.is_clean() { exit::FINE } else { exit::FINDINGS }
}

/// Raises the limit of file descriptors as far as allowed: each namespace, server and probe uses
/// some. If that fails, a large lab reports what it could not open.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn parts(without: &[Part]) -> ActiveParts {
    let has = |part| !without.contains(&part);
    ActiveParts {
        directions: PerDirection { ingress: has(Part::Ingress), egress: has(Part::Egress) },
        ipv6: has(Part::Ipv6),
        anti_spoofing: has(Part::AntiSpoofing),
    }
}
