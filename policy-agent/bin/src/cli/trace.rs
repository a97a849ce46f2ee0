//! The command `policy-agent trace`: shows how the programs decide about the packets of one pod.
//!
//! It asks the agent of this node for the pod's interface, gives that interface the tracing programs for a
//! while, and prints their lines.

use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use policy_agent::dataplane::{Trace, TraceError};
use policy_probe::{exit, terminal};
use policy_report::status::Status;
use thiserror::Error;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};

use super::{
    PIN_DIR,
    ask::{AskError, PlaceOptions},
};

const HELP: &str = "\
Examples:
  policy-agent trace --pod shop/web
      print each step of the decision about every packet of a pod for 30 seconds
  policy-agent trace --pod shop/web --peer 10.244.1.10 --seconds 5
      only packets from or to one address, as the packets at the pod carry it
  kubectl -n policy-system exec POD-OF-THE-AGENT -- /policy-agent trace --pod shop/web
      on the node of one of the agents

The pod's interface gets other programs for that time, each by one exchange: no packet is lost or let
through. They give the same verdicts and cost more. Where more packets come than can be printed, some
lines are lost and the command may end later than asked: --peer traces fewer packets. If this command
is killed, the agent puts the normal programs back at its next verification, or the next agent when
it starts.

It needs root on the node.

Exit codes:
  0  the time is over, or the command was interrupted
  2  wrong usage, or no such pod on this node
  3  no agent responds, or the programs cannot be exchanged";

/// How often the lines of the programs are read.
const INTERVAL: Duration = Duration::from_millis(20);

/// Options of `policy-agent trace`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TraceArguments {
    /// The pod, of this node
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: (String, String),

    /// Only packets from or to this address
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<IpAddr>,

    /// Seconds to trace
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    #[command(flatten)]
    place: PlaceOptions,

    /// Folder of the agent's pins, as in its option --pin-dir
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
}

#[derive(Debug, Error)]
enum TraceCommandError {
    #[error(transparent)]
    Status(#[from] AskError),
    #[error("node {node} has no pod {namespace}/{name}")]
    NoPod { node: String, namespace: String, name: String },
    #[error("the agent has found no interface of pod {namespace}/{name} yet")]
    NoInterface { namespace: String, name: String },
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("cannot start an async runtime")]
    Start(#[source] io::Error),
    #[error("cannot handle SIGINT and SIGTERM")]
    Signals(#[source] io::Error),
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
}

/// Traces a pod and returns the exit code.
pub(super) fn main(arguments: &TraceArguments) -> u8 {
    // One thread: programs are attached to interfaces of its network namespace.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let traced = runtime.map_err(TraceCommandError::Start).and_then(|runtime| {
        let interface = interface(&arguments.place.place().status()?, &arguments.pod)?;
        runtime.block_on(trace(arguments, &interface))
    });
    match traced {
        Ok(()) => exit::FINE,
        Err(error) => {
            terminal::error(&error);
            if matches!(error, TraceCommandError::NoPod { .. }) {
                exit::INPUT
            } else {
                exit::FAILED
            }
        }
    }
}

async fn trace(arguments: &TraceArguments, interface: &str) -> Result<(), TraceCommandError> {
    let on = |kind| signal(kind).map_err(TraceCommandError::Signals);
    let (mut interrupt, mut terminate) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut trace = Trace::start(&arguments.pin_dir, interface, arguments.peer)?;
    let (namespace, name) = &arguments.pod;
    let seconds = arguments.seconds;
    eprintln!("tracing pod {namespace}/{name} at interface {interface} for {seconds} s");
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && !ended(&mut interrupt, &mut terminate).await {
        print(&trace.lines())?;
    }
    print(&trace.lines())?;
    Ok(trace.end()?)
}

/// Waits for a moment; whether a signal came.
async fn ended(interrupt: &mut Signal, terminate: &mut Signal) -> bool {
    tokio::select! {
        _ = interrupt.recv() => true,
        _ = terminate.recv() => true,
        () = sleep(INTERVAL) => false,
    }
}

fn print(lines: &[String]) -> Result<(), TraceCommandError> {
    let mut stdout = io::stdout().lock();
    for line in lines {
        writeln!(stdout, "{line}").map_err(TraceCommandError::Write)?;
    }
    stdout.flush().map_err(TraceCommandError::Write)
}

/// The interface of a pod.
fn interface(
    state: &Status,
    (namespace, name): &(String, String),
) -> Result<String, TraceCommandError> {
    let mut pods = state.pods.iter();
    let pod = pods.find(|pod| pod.namespace == *namespace && pod.name == *name);
    let (namespace, name) = (namespace.clone(), name.clone());
    match pod {
        Some(pod) => {
            pod.interface.clone().ok_or(TraceCommandError::NoInterface { namespace, name })
        }
        None => Err(TraceCommandError::NoPod { node: state.node.clone(), namespace, name }),
    }
}

/// Reads the name of a pod.
fn pod(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').filter(|(namespace, name)| {
        !namespace.is_empty() && !name.is_empty() && !name.contains('/')
    });
    let parts = parts.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    parts.ok_or_else(|| "write a pod as NAMESPACE/NAME".to_owned())
}
