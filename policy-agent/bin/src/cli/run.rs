//! The command `policy-agent run`: turns options into the configuration of the daemon, and runs it.
//!
//! An error before the daemon's loop starts is one of these, by its exit code:
//!
//! ```text
//! 2   --manifests names nothing, a manifest is wrong, or the flow log cannot be opened
//! 3   anything else: no privilege, no bpffs, another agent with the same pins, no API server
//! ```
//!
//! Later errors never end the daemon; it logs and retries.

use std::{fs, io, path::PathBuf, process, thread, time::Duration};

use clap::{Args, ValueEnum};
use policy_agent::{
    daemon::{self, DaemonConfig, DaemonError, Origin},
    dataplane::{ActiveParts, Capacities, Options, POD_FLOWS, UnknownEndpoints},
    flows::{FlowLogError, FlowLogTarget},
    node::NodeConfig,
    source::files::FilesError,
};
use policy_kube::Access;
use policy_probe::{exit, input::InputError, options::EnforcementOptions, terminal};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing_subscriber::EnvFilter;

use super::{PIN_DIR, cni::CniOptions, listen::ListenOptions};

const HELP: &str = "\
Examples:
  policy-agent run --manifests /etc/policy
      enforce the manifests of a folder in this network namespace, and follow their changes
  policy-agent run --kubeconfig admin.conf --node worker-1
      enforce the policies of a cluster; inside a pod, the service account replaces the kubeconfig
  policy-agent run --manifests cluster.yaml --node worker-1 --log-format json
      enforce the policies for the pods of one node, from a dump of the whole cluster
  policy-agent run --node worker-1 --listen 127.0.0.1:9470 --flow-log /var/log/drops.json
      serve health, metrics and `policy-agent status`, and write dropped packets to a file

Enforcement continues after the agent ends, however it ends, and the next agent takes it over;
`policy-agent detach` removes it. If the manifests have an error at the start, the agent ends; if
they get one later, the last good state stays in force. A file is read after its writer closes it.

Environment:
  RUST_LOG  log filter for standard error, `info` by default

Exit codes:
  0  ended by SIGINT or SIGTERM
  2  wrong usage, missing or wrong manifests at the start, or a flow log that cannot be opened
  3  the environment or the agent failed

The agent needs root, Linux 5.10 or newer with BTF, and a bpffs.";

/// Headings of the options.
const CLUSTER: &str = "Where the cluster comes from";
const ENFORCED: &str = "What is enforced";
const KERNEL: &str = "What the kernel holds";
const REPORTS: &str = "What is reported";
const RUNTIME: &str = "The container runtime";

/// The default log filter. The Kubernetes client is off: it logs every failed request and the body
/// of each response that it cannot parse, and the daemon logs each problem once.
const LOG_FILTER: &str = "info,kube_client=off,kube_runtime=off";

/// How long the daemon may take to end after a signal.
const STOP_LIMIT: Duration = Duration::from_millis(1500);

/// Options of `policy-agent run`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct RunArguments {
    /// Follow this folder or file of Kubernetes manifests [default: the cluster's API server]
    #[arg(long, value_name = "PATH", conflicts_with = "kubeconfig", help_heading = CLUSTER)]
    manifests: Option<PathBuf>,

    /// Kubeconfig for the API server [default: $KUBECONFIG, or the service account of the pod]
    #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
    kubeconfig: Option<PathBuf>,

    /// Name of this machine's Node object [default: the host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME", help_heading = CLUSTER)]
    node: Option<String>,

    #[command(flatten, next_help_heading = ENFORCED)]
    enforcement: EnforcementOptions,

    /// Whether the annotation `policy-agent.io/enforcement: disabled` of this Node switches enforcement
    /// off
    #[arg(long, help_heading = ENFORCED)]
    enforcement_annotation: bool,

    /// Verdict for packets at interfaces that belong to no known pod
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t, help_heading = ENFORCED)]
    unknown_endpoints: Unknown,

    /// Folder on a bpffs for the pinned maps and links, which keep enforcing while no agent runs
    #[arg(long, value_name = "DIR", default_value = PIN_DIR, help_heading = KERNEL)]
    pin_dir: PathBuf,

    /// Flows that each isolated pod has room for, per address family [default: as the node's memory
    /// allows, 2048 to 65536]
    #[arg(long, value_name = "COUNT", value_parser = flows_per_pod(), help_heading = KERNEL)]
    flows_per_pod: Option<u32>,

    /// Pods that the node may have (kubelet's maxPods); the memory for flow tables is divided by it
    #[arg(long, value_name = "COUNT", default_value_t = Capacities::default().pods,
        value_parser = clap::value_parser!(u32).range(1..=2047), help_heading = KERNEL)]
    max_pods: u32,

    /// Capacity of the flow tables that pods without tables of their own share, per address family; a
    /// change replaces the pinned maps
    #[arg(long, value_name = "COUNT", default_value_t = Capacities::default().flows,
        value_parser = clap::value_parser!(u32).range(1024..), help_heading = KERNEL)]
    max_flows: u32,

    /// Capacity of the map `frontends`: addresses of Services times their ports, and node ports times the
    /// nodes' addresses; a change replaces the pinned maps
    #[arg(long, value_name = "COUNT", default_value_t = Capacities::default().frontends,
        value_parser = entries(), help_heading = KERNEL)]
    max_frontends: u32,

    /// Entries of the maps `identities` (pods' addresses that a policy in force mentions) and `pods` (all
    /// pods' addresses); a change replaces the pinned maps
    #[arg(long, value_name = "COUNT", default_value_t = Capacities::default().addresses,
        value_parser = entries(), help_heading = KERNEL)]
    max_identities: u32,

    /// Capacity of the map `blocks`: CIDRs that policies mention; a change replaces the pinned maps
    #[arg(long, value_name = "COUNT", default_value_t = Capacities::default().blocks,
        value_parser = entries(), help_heading = KERNEL)]
    max_blocks: u32,

    /// Seconds between checks of the attached programs and the maps; what another program has
    /// changed is repaired and counted. 0 disables the checks
    #[arg(long, value_name = "SECONDS", default_value_t = 60, help_heading = KERNEL)]
    verify_interval: u64,

    /// Attach by filters of a clsact qdisc even if this kernel has TCX links; before Linux 6.6 the
    /// agent always does
    #[arg(long, help_heading = KERNEL)]
    clsact: bool,

    /// eBPF object with other programs for the same maps [default: the object in this program]
    #[arg(long, value_name = "FILE", help_heading = KERNEL)]
    bpf_object: Option<PathBuf>,

    #[command(flatten, next_help_heading = REPORTS)]
    listen: ListenOptions,

    /// File for the flow log, or a FIFO that has a reader: one JSON object per dropped packet; `-` is
    /// standard output, `off` disables the log
    #[arg(long, value_name = "FILE", default_value = "-", help_heading = REPORTS)]
    flow_log: PathBuf,

    /// Lines of the flow log per pod and second, after a burst of 100; 0 disables the limit. The
    /// metrics count every dropped packet
    #[arg(long, value_name = "COUNT", default_value_t = 20, help_heading = REPORTS)]
    max_drop_records: u32,

    /// Mebibytes of memory for the denied flows of the last 24 hours that /flows answers and
    /// `policyctl flows` shows; 0 keeps none
    #[arg(long, value_name = "MEBIBYTES", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(0..=1024), help_heading = REPORTS)]
    flow_memory: u16,

    /// Format of the log on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, help_heading = REPORTS)]
    log_format: LogFormat,

    #[command(flatten, next_help_heading = RUNTIME)]
    cni: CniOptions,
}

/// Verdict for packets at interfaces of no known pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Unknown {
    /// Everything passes
    #[default]
    Pass,
    /// Nothing passes, and the drops are counted
    Drop,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs, one JSON object per line
    Json,
}

/// Runs the daemon and returns the exit code.
pub(super) fn main(arguments: RunArguments) -> u8 {
    start_log(arguments.log_format);
    match run(arguments) {
        Ok(()) => exit::FINE,
        Err(RunError::Daemon(DaemonError::Manifests(FilesError::Manifests(errors)))) => {
            InputError::Manifests(errors).report()
        }
        Err(error) => {
            terminal::error(&error);
            if error.is_input() { exit::INPUT } else { exit::FAILED }
        }
    }
}

/// Why the daemon did not start, or ended early.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot read the host name; set --node")]
    HostName(#[source] io::Error),
    #[error("cannot find the path of this program; set --cni-plugin")]
    Program(#[source] io::Error),
    #[error("cannot start the agent's async runtime")]
    Start(#[source] io::Error),
    #[error("cannot read the manifests {}", path.display())]
    Manifests {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl RunError {
    /// Whether the options or the manifests are the cause, not the environment.
    fn is_input(&self) -> bool {
        use FlowLogError::{NoReader, Open};
        matches!(
            self,
            Self::Manifests { .. }
                | Self::Daemon(
                    DaemonError::Manifests(_) | DaemonError::FlowLog(Open { .. } | NoReader { .. })
                )
        )
    }
}

fn run(arguments: RunArguments) -> Result<(), RunError> {
    let config = arguments.config()?;
    // One thread: the dataplane attaches to interfaces of its thread's network namespace.
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Start)?;
    let stop = stop_signal().map_err(RunError::Start)?;
    let ended = runtime.block_on(async { Ok(Box::pin(daemon::run(config, stop)).await?) });
    // Writes that a slow disk delays are not awaited: each file is complete at any time.
    runtime.shutdown_background();
    ended
}

impl RunArguments {
    /// The configuration of the daemon.
    fn config(self) -> Result<DaemonConfig, RunError> {
        let source = match self.manifests {
            Some(path) => Origin::Manifests(existing(path)?),
            None => Origin::Kubernetes(Access { kubeconfig: self.kubeconfig, context: None }),
        };
        let node = match self.node {
            Some(node) => node,
            None => host_name().map_err(RunError::HostName)?,
        };
        let records = self.max_drop_records;
        let mut node = NodeConfig {
            node,
            intent: self.enforcement.into(),
            pins: Some(self.pin_dir),
            options: Options {
                object: self.bpf_object,
                parts: ActiveParts::default(),
                unknown_endpoints: match self.unknown_endpoints {
                    Unknown::Pass => UnknownEndpoints::Pass,
                    Unknown::Drop => UnknownEndpoints::Drop,
                },
                capacities: Capacities {
                    flows: self.max_flows,
                    pod_flows: self.flows_per_pod,
                    pods: self.max_pods,
                    frontends: self.max_frontends,
                    addresses: self.max_identities,
                    blocks: self.max_blocks,
                    ..Capacities::default()
                },
                record_interval: Duration::from_secs(1).checked_div(records).unwrap_or_default(),
                clsact: self.clsact,
            },
        };
        node.intent.enforcement_annotation = self.enforcement_annotation;
        let flow_log = match self.flow_log.to_str() {
            Some("-") => FlowLogTarget::Stdout,
            Some("off") => FlowLogTarget::Off,
            _ => FlowLogTarget::File(self.flow_log),
        };
        Ok(DaemonConfig {
            node,
            source,
            flow_log,
            flow_memory: usize::from(self.flow_memory) << 20,
            listen: self.listen.into(),
            verify_interval: Duration::from_secs(self.verify_interval),
            cni: self.cni.config().map_err(RunError::Program)?,
        })
    }
}

/// How many entries a map may have that clusters fill.
fn entries() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1024..=1 << 24)
}

/// How many flows a pod may have room for.
fn flows_per_pod() -> clap::builder::RangedI64ValueParser<u32> {
    let (least, most) = (i64::from(*POD_FLOWS.start()), i64::from(*POD_FLOWS.end()));
    clap::value_parser!(u32).range(least..=most)
}

/// Checks that the folder or file of manifests exists, and warns of folders in it that are not read.
fn existing(path: PathBuf) -> Result<PathBuf, RunError> {
    if let Err(source) = fs::metadata(&path) {
        return Err(RunError::Manifests { path, source });
    }
    for note in policy_files::notes(std::slice::from_ref(&path)) {
        tracing::warn!("{note}");
    }
    Ok(path)
}

/// Waits for SIGINT or SIGTERM on a thread of its own. If the daemon is busy and does not end soon
/// after it, the thread ends the process: what is in force stays, as after any end.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (sender, stopped) = oneshot::channel();
    let wait = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // The daemon has ended by itself if nobody receives it.
        let _ = sender.send(());
        sleep(STOP_LIMIT).await;
        process::exit(exit::FINE.into());
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(async move { drop(stopped.await) })
}

fn host_name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim_end().to_owned())
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
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
