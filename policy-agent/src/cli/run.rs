//! `policy-agent run`.

use std::{fs, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use policy_kube::Access;
use policy_probe::{exit, terminal};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use super::{PIN_DIR, cni::CniOptions};
use crate::{
    daemon::{self, DaemonConfig, DaemonError, Origin},
    dataplane::{Capacities, UnknownEndpoints},
    flow_log::{FlowLogError, Target},
    node::NodeConfig,
};

const EXAMPLES: &str = "\
Examples:
  policy-agent run --manifests /etc/policy
      enforces what the folder says in this network namespace, and follows its changes
  policy-agent run --kubeconfig admin.conf --node worker-1
      enforces what the cluster's API server says; in a pod, its service account needs no kubeconfig
  policy-agent run --manifests cluster.yaml --node worker-1 --log-format json
      the pods of one node of a whole cluster's dump

Enforcement goes on when the agent ends, however it does, and the next one takes it over;
`policy-agent detach` takes it away. A folder that breaks leaves the last good state in force; one
that is broken from the start is refused. A file is read when whoever writes it has closed it.

Environment:
  RUST_LOG  what is logged on standard error, `info` by default

Exit codes:
  0  ended by SIGINT or SIGTERM
  2  bad usage, manifests that are broken from the start, or a flow log that cannot be opened
  3  the environment or the agent failed

The agent needs root, and Linux with BTF.";

/// What is logged where nothing is asked for: the client of Kubernetes tells what fails each time it
/// does, and prints whole answers that it cannot read; the daemon tells each thing once.
const LOG: &str = "info,kube_client=off,kube_runtime=off";

/// Options of `policy-agent run`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Folder, or file, of ordinary manifests; watched for changes. Without it the cluster is asked
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    manifests: Option<PathBuf>,

    /// The kubeconfig, instead of the service account of the agent's pod or what KUBECONFIG names
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Name of the Node whose pods are here; the host's name by default
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: Option<String>,

    /// What happens at interfaces that lead to no known pod
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t)]
    unknown_endpoints: Unknown,

    /// Folder of a mounted bpffs where enforcement goes on while no agent runs
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,

    /// Flows that are remembered, per address family; another number is a new layout of the maps
    #[arg(long, value_name = "COUNT", default_value_t = Capacities::default().flows,
        value_parser = clap::value_parser!(u32).range(1024..))]
    max_flows: u32,

    /// Where dropped packets are told, one JSON object a line: `-` for standard output, a file, a
    /// FIFO that somebody reads, or `off`
    #[arg(long, value_name = "FILE", default_value = "-")]
    flow_log: PathBuf,

    /// Classifiers of another build than this binary's own: an eBPF object with the same maps
    #[arg(long, value_name = "FILE")]
    bpf_object: Option<PathBuf>,

    /// Dropped packets of one pod that are told in a second, beyond a burst of 100; 0 for all. Every
    /// one is counted
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    max_drop_records: u32,

    /// Where /healthz, /readyz and /metrics are served; nowhere by default
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Seconds between two readings of what hangs on interfaces and stands in maps; what somebody else
    /// changed is put right and counted. 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    verify_interval: u64,

    #[command(flatten)]
    cni: CniOptions,

    /// How log lines look on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Verdict on what no pod is known for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Unknown {
    /// Everything passes
    #[default]
    Pass,
    /// Nothing passes, and that is counted
    Drop,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one object a line
    Json,
}

/// Runs the daemon; the exit code.
pub(super) fn main(arguments: Arguments) -> u8 {
    log(arguments.log_format);
    match run(arguments) {
        Ok(()) => exit::FINE,
        Err(error) => {
            terminal::error(&error);
            if error.is_input() { exit::INPUT } else { exit::FAILED }
        }
    }
}

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read the host's name; give --node")]
    HostName(#[source] io::Error),
    #[error("cannot tell where this program is; give --cni-plugin")]
    Program(#[source] io::Error),
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl Error {
    /// Whether what was asked for is to blame, and not the environment.
    fn is_input(&self) -> bool {
        use FlowLogError::{NoReader, Open};
        let Self::Daemon(error) = self else { return false };
        matches!(
            error,
            DaemonError::Manifests(_) | DaemonError::FlowLog(Open { .. } | NoReader { .. })
        )
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    let Arguments {
        manifests,
        kubeconfig,
        node,
        unknown_endpoints,
        pin_dir,
        max_flows,
        bpf_object,
        flow_log,
        max_drop_records,
        listen,
        cni,
        verify_interval,
        log_format: _,
    } = arguments;
    let node = match node {
        Some(node) => node,
        None => host_name().map_err(Error::HostName)?,
    };
    let unknown_endpoints = match unknown_endpoints {
        Unknown::Pass => UnknownEndpoints::Pass,
        Unknown::Drop => UnknownEndpoints::Drop,
    };
    let pins = Some(pin_dir);
    let capacities = Capacities { flows: max_flows, ..Capacities::default() };
    let record_interval = Duration::from_secs(1).checked_div(max_drop_records).unwrap_or_default();
    let node = NodeConfig {
        object: bpf_object,
        unknown_endpoints,
        capacities,
        record_interval,
        pins,
        ..NodeConfig::new(node)
    };
    let flow_log = match flow_log.to_str() {
        Some("-") => Target::Stdout,
        Some("off") => Target::Off,
        _ => Target::File(flow_log),
    };
    let source = match manifests {
        Some(folder) => {
            for note in policy_files::notes(std::slice::from_ref(&folder)) {
                tracing::warn!("{note}");
            }
            Origin::Manifests(folder)
        }
        None => Origin::Kubernetes(Access { kubeconfig, context: None }),
    };
    let verify_interval = Duration::from_secs(verify_interval);
    let cni = cni.config().map_err(Error::Program)?;
    let config = DaemonConfig { node, source, flow_log, listen, verify_interval, cni };
    // One thread: attaching goes by the network namespace of the thread.
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let ended = runtime.block_on(async {
        let interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
        let terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
        Ok(daemon::run(config, ended(interrupt, terminate)).await?)
    });
    // A file that a slow disk holds up is not waited for: each is whole at every instant.
    runtime.shutdown_background();
    ended
}

async fn ended(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn host_name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim_end().to_owned())
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal::stderr_has_colour())
        .with_target(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
