//! The daemon: a source, the node's network and the kernel, kept in step for as long as it runs.

mod announce;
mod input;
mod metrics;
mod report;
mod retry;
mod sandboxes;

use std::{
    collections::BTreeMap, error::Error, future::Future, io, net::SocketAddr, path::PathBuf,
    pin::pin, time::Duration,
};

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

use crate::{
    cni::SocketError,
    dataplane::DataplaneError,
    flow_log::{Attribution, FlowLog, FlowLogError, Locals, Target},
    http::{self, Question},
    net::{Changes, NetError, enforcers},
    node::{Node, NodeConfig, NodeError, Reconciled},
    source::files::FilesError,
    source::kubernetes::{Access, Event, KubernetesError, WatchError},
};

use announce::Announcer;
use input::{Input, Known, Told};
use metrics::{Dropped, Metrics};
use report::Reporter;
use retry::Retry;
use sandboxes::{Inbox, Runtime, Waiting};

pub use sandboxes::CniConfig;

/// How long an agent without anything to do waits before it looks again: addresses inside of a
/// pod change without a word to the node.
const IDLE: Duration = Duration::from_secs(10);

/// How long a change of an object waits for others to be enforced together with.
const TOGETHER: Duration = Duration::from_millis(10);

/// How long an interface may wait for its pod and still be counted.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// What a daemon is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// The node.
    pub node: NodeConfig,
    /// Where the state of the cluster comes from.
    pub source: Origin,
    /// Where dropped packets are told.
    pub flow_log: Target,
    /// Where health and metrics are served, if anywhere.
    pub listen: Option<SocketAddr>,
    /// How often what is enforced is read back; never where it is zero.
    pub verify_interval: Duration,
    /// What of the container runtime is asked, told and changed.
    pub cni: CniConfig,
}

/// Where the state of the cluster comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Folder, or file, of manifests.
    Manifests(PathBuf),
    /// An API server.
    Kubernetes(Access),
}

/// Why a daemon cannot begin, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The dataplane or the network.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The kernel's word of changes.
    #[error("cannot follow the node's links")]
    Changes(#[from] NetError),
    /// The records of dropped packets.
    #[error("cannot follow dropped packets")]
    Drops(#[source] Box<DataplaneError>),
    /// Health and metrics.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The chained plugin's questions.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The flow log.
    #[error(transparent)]
    FlowLog(#[from] FlowLogError),
    /// The API server cannot be asked.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// Manifests that are broken from the start.
    #[error(transparent)]
    Manifests(#[from] FilesError),
    /// The task that follows the cluster has ended.
    #[error("nobody follows the cluster any more")]
    Source,
}

/// Runs until `stop` is ready, in the network namespace of the calling thread.
///
/// To be run by a current-thread runtime: attaching goes by the namespace of the thread.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// Only what cannot be tried again, and manifests that are broken from the start. Those that break
/// later leave the last good state; steps that fail are tried again.
pub async fn run(config: DaemonConfig, stop: impl Future<Output = ()>) -> Result<(), DaemonError> {
    let mut stop = pin!(stop);
    let mut network = Changes::open()?;
    let mut input = Input::open(&config.source).await?;
    let log = FlowLog::open(&config.flow_log)?;
    let mut questions = match config.listen {
        Some(address) => {
            let listening = http::serve(address).await;
            Some(listening.map_err(|source| DaemonError::Listen { address, source })?)
        }
        None => None,
    };
    let bpffs = config.node.pins.as_ref().and_then(|pins| Some(pins.parent()?.to_owned()));
    let mut node = Node::start(config.node)?;
    let drops = node.dataplane().drops();
    let mut drops = drops.map_err(|source| DaemonError::Drops(Box::new(source)))?;
    let announcer = Announcer::new(input.client(), node.name());
    let mut daemon = Daemon::new(node, log, announcer, config.verify_interval, bpffs);
    let mut runtime = Inbox::open(config.cni)?;
    loop {
        // What ends and what enforces goes before what only tells.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = sleep_until(daemon.due), if daemon.known.is_complete() => daemon.enforce().await,
            () = sleep_until(daemon.verify.next), if daemon.verifies() => daemon.verify().await,
            told = input.next() => daemon.take(told.ok_or(DaemonError::Source)?)?,
            changed = network.next() => {
                daemon.born.extend(changed?.into_iter().map(|ifindex| (ifindex, Instant::now())));
                daemon.due = Instant::now();
            }
            told = runtime.next() => daemon.learn(told),
            question = asked(&mut questions) => daemon.answer(question),
            record = drops.next() => match record {
                Ok(record) => {
                    daemon.log.write(&record, &Attribution::new(&daemon.node, &daemon.locals));
                }
                Err(error) => report::unreadable(&error),
            },
        }
    }
}

/// The next question; never where nobody may ask.
async fn asked(questions: &mut Option<Receiver<Question>>) -> Question {
    match questions {
        Some(questions) => match questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// A node, what it should enforce, and when it is to be looked at next.
struct Daemon {
    node: Node,
    /// Nothing is enforced, and nothing given up, before it is complete.
    known: Known,
    due: Instant,
    retry: Retry,
    reporter: Reporter,
    announcer: Announcer,
    /// Interfaces that came up and are under no policy yet.
    born: BTreeMap<u32, Instant>,
    locals: Locals,
    log: FlowLog,
    metrics: Metrics,
    waiting: Waiting,
    verify: Verify,
    /// Where others may have pinned their programs.
    bpffs: Option<PathBuf>,
    /// Whether what is known is enforced.
    is_enforced: bool,
}

/// When what is enforced is read back.
struct Verify {
    interval: Duration,
    next: Instant,
}

impl Daemon {
    fn new(
        node: Node,
        log: FlowLog,
        announcer: Announcer,
        interval: Duration,
        bpffs: Option<PathBuf>,
    ) -> Self {
        let verify = Verify { interval, next: Instant::now() + interval };
        let (retry, reporter, locals) = (Retry::new(), Reporter::default(), Locals::default());
        let (known, due) = (Known::default(), Instant::now());
        let (metrics, waiting, is_enforced) = (Metrics::new(), Waiting::default(), false);
        let born = BTreeMap::new();
        Self {
            node,
            known,
            due,
            retry,
            reporter,
            announcer,
            born,
            locals,
            log,
            metrics,
            waiting,
            verify,
            bpffs,
            is_enforced,
        }
    }

    fn take(&mut self, told: Told) -> Result<(), DaemonError> {
        match told {
            Told::Files(Ok(manifests)) => {
                report::input(&manifests);
                self.node.take(manifests.snapshot);
                self.known.everything();
                self.soon(Duration::ZERO);
            }
            // What an agent before this one enforced stays; there is nothing else to go on with.
            Told::Files(Err(error @ FilesError::Manifests(_))) if !self.known.is_complete() => {
                return Err(error.into());
            }
            Told::Files(Err(error)) => report::broken(&error, self.known.is_complete()),
            Told::Kubernetes(Event::Changed(change)) => {
                self.node.change(change);
                self.soon(TOGETHER);
            }
            Told::Kubernetes(Event::Listed(kind, names)) => {
                self.node.release();
                let there = kind.names_in(self.node.snapshot()).into_iter();
                for gone in there.filter(|name| !names.contains(name)) {
                    self.node.change(kind.gone(gone));
                }
                if self.known.listed(kind) {
                    report::complete(self.node.snapshot());
                }
                self.soon(TOGETHER);
            }
            Told::Kubernetes(Event::Illegible(errors)) => report::illegible(&errors),
            Told::Kubernetes(Event::Broken(kind, error)) => {
                // What need not be there need not be known, either; that is told.
                if kind.is_optional() && matches!(error, WatchError::Refused(_)) {
                    self.known.listed(kind);
                }
                report::watch(kind, &error, self.known.is_complete());
            }
        }
        Ok(())
    }

    fn learn(&mut self, told: Runtime) {
        match told {
            Runtime::Asked(question) => {
                self.node.learn(question.sandbox.clone());
                self.waiting.add(question);
            }
            Runtime::Cached(sandboxes) => self.node.learn_cached(sandboxes),
        }
        self.soon(TOGETHER);
    }

    /// Who asks may have gone meanwhile, and then needs no answer.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Alive(answer) => drop(answer.send(())),
            Question::Ready(answer) => drop(answer.send(self.ready())),
            Question::Metrics(answer) => match self.metrics() {
                Ok(text) => drop(answer.send(text)),
                Err(error) => report::no_metrics(&*error),
            },
        }
    }

    fn ready(&self) -> Result<(), String> {
        match (self.known.is_complete(), self.is_enforced) {
            (false, _) => Err(format!("not listed yet: {}", self.known.missing().join(", "))),
            (true, false) => Err("nothing is enforced yet".to_owned()),
            (true, true) => Ok(()),
        }
    }

    fn metrics(&mut self) -> Result<String, Box<dyn Error>> {
        let counts = self.node.dataplane().drop_counts()?;
        let attribution = Attribution::new(&self.node, &self.locals);
        let drops = counts.into_iter().filter_map(|(key, count)| {
            let pod = attribution.endpoint(key.ifindex);
            let pod = pod.map(|(name, _)| (&*name.namespace, &*name.name));
            Some((Dropped::of(key, pod)?, count))
        });
        let drops = drops.collect();
        Ok(self.metrics.text(drops)?)
    }

    /// Enforces after some time at the latest, for changes often come together.
    fn soon(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.due = self.due.min(due);
        self.retry = Retry::new();
    }

    /// How long interfaces waited for their policies.
    fn observe_births(&mut self) {
        let endpoints = self.node.actual().endpoints();
        let found = self.born.extract_if(.., |ifindex, _| endpoints.contains_key(ifindex));
        for (_, born) in found {
            self.metrics.began(born.elapsed());
        }
        // Those of no pod are not waited for.
        self.born.retain(|_, born| born.elapsed() < FORGOTTEN);
    }

    fn verifies(&self) -> bool {
        self.is_enforced && !self.verify.interval.is_zero()
    }

    /// Names others that enforce policies here.
    async fn look_around(&mut self) {
        self.reporter.enforcers(enforcers(self.bpffs.as_deref()).await);
    }

    async fn verify(&mut self) {
        self.look_around().await;
        match self.node.verify() {
            Ok(drift) => {
                report::drift(&drift);
                self.metrics.repaired(&drift);
            }
            Err(error) => report::failed(&error, self.verify.interval),
        }
        self.verify.next = Instant::now() + self.verify.interval;
    }

    async fn enforce(&mut self) {
        let begin = Instant::now();
        let wait = match self.node.enforce().await {
            Ok(reconciled) => {
                let Reconciled { steps, faults, pods_without_interface, .. } = &reconciled;
                self.metrics.enforced(begin.elapsed(), *steps, faults.len());
                let enforced = self.node.actual().endpoints().len();
                self.metrics.pods(enforced, pods_without_interface.len());
                self.metrics.held_back(reconciled.held_back.len());
                let is_first = !std::mem::replace(&mut self.is_enforced, true);
                self.waiting.answer(&mut self.node);
                self.locals = Locals::new(self.node.desired(), self.node.actual().endpoints());
                self.observe_births();
                self.announcer.announce(&self.node, &reconciled);
                let waits = !reconciled.pods_without_interface.is_empty();
                let told = self.reporter.reconciled(reconciled);
                if told || !waits {
                    self.retry = Retry::new();
                }
                if is_first {
                    self.look_around().await;
                }
                // A pod whose interface has no address yet gets one without a word to the node.
                if waits { self.retry.next().min(IDLE) } else { IDLE }
            }
            Err(error) => {
                self.metrics.failed();
                let wait = self.retry.next();
                report::failed(&error, wait);
                wait
            }
        };
        self.due = Instant::now() + wait;
    }
}
