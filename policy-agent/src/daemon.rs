//! The daemon: a source, the node's network and the kernel, kept in step for as long as it runs.

mod announce;
mod enforce;
mod health;
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

use policy_common::drops::DropRecord;

use crate::{
    cni::SocketError,
    dataplane::{DataplaneError, DropsError},
    flow_log::{Attribution, FlowLog, FlowLogError, Locals, Target},
    http::{self, Question},
    net::{Changes, NetError},
    node::{Node, NodeConfig, NodeError},
    source::files::FilesError,
    source::kubernetes::{Access, Event, KubernetesError},
};

use announce::Announcer;
use enforce::Verify;
use health::Health;
use input::{Input, Known, Told};
use metrics::{Dropped, Metrics};
use report::Reporter;
use retry::Retry;
use sandboxes::{Inbox, Runtime, Waiting};

pub use sandboxes::CniConfig;

/// How long a change of an object waits for others to be enforced together with.
const TOGETHER: Duration = Duration::from_millis(10);

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
    // Before anything is pinned: an agent that may not stay leaves nothing.
    let claim = tokio::select! {
        () = &mut stop => return Ok(()),
        claim = config.cni.claim() => claim?,
    };
    let pins = config.node.pins.clone();
    let mut node = Node::start(config.node)?;
    let drops = node.dataplane().drops();
    let mut drops = drops.map_err(|source| DaemonError::Drops(Box::new(source)))?;
    let announcer = Announcer::new(input.client(), node.name());
    let mut daemon = Daemon::new(node, log, announcer, config.verify_interval, pins);
    let mut runtime = Inbox::open(claim, config.cni, &mut daemon.metrics)?;
    loop {
        // What ends and what enforces goes before what only tells.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = sleep_until(daemon.due), if daemon.known.is_complete() => daemon.enforce().await,
            () = sleep_until(daemon.verify.next), if daemon.verifies() => daemon.verify().await,
            // None of the rest may starve another: a cluster is told in a hundred thousand words,
            // and whoever floods one of them gains nothing.
            happened = async {
                tokio::select! {
                    told = input.next() => Happened::Told(told),
                    changed = network.next() => Happened::Changed(changed),
                    told = runtime.next() => Happened::Runtime(told),
                    question = asked(&mut questions) => Happened::Asked(question),
                    record = drops.next() => Happened::Dropped(record),
                }
            } => daemon.happened(happened)?,
        }
    }
}

/// Something that the daemon waits for.
enum Happened {
    /// Of the cluster; nothing any more.
    Told(Option<Told>),
    /// Of the node's links.
    Changed(Result<Vec<u32>, NetError>),
    /// Of the container runtime.
    Runtime(Runtime),
    /// About the agent.
    Asked(Question),
    /// A packet.
    Dropped(Result<DropRecord, DropsError>),
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
    /// Its own pins; others may have pinned theirs beside them.
    pins: Option<PathBuf>,
    health: Health,
}

impl Daemon {
    fn new(
        node: Node,
        log: FlowLog,
        announcer: Announcer,
        interval: Duration,
        pins: Option<PathBuf>,
    ) -> Self {
        let verify = Verify { interval, next: Instant::now() + interval };
        let (retry, reporter, locals) = (Retry::new(), Reporter::default(), Locals::default());
        let (known, due) = (Known::default(), Instant::now());
        let (metrics, waiting) = (Metrics::new(), Waiting::default());
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
            pins,
            health: Health::default(),
        }
    }

    fn happened(&mut self, happened: Happened) -> Result<(), DaemonError> {
        match happened {
            Happened::Told(told) => self.take(told.ok_or(DaemonError::Source)?)?,
            Happened::Changed(changed) => {
                self.born.extend(changed?.into_iter().map(|ifindex| (ifindex, Instant::now())));
                self.due = Instant::now();
            }
            Happened::Runtime(told) => self.learn(told),
            Happened::Asked(question) => self.answer(question),
            Happened::Dropped(Ok(record)) => {
                self.log.write(&record, &Attribution::new(&self.node, &self.locals));
            }
            Happened::Dropped(Err(error)) => report::unreadable(&error),
        }
        Ok(())
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
                self.metrics.watch_broken(kind, true);
                self.known.broken(kind, &error);
            }
            Told::Kubernetes(Event::Mended(kind)) => {
                self.metrics.watch_broken(kind, false);
                self.known.mended(kind);
            }
        }
        Ok(())
    }

    fn learn(&mut self, told: Runtime) {
        match told {
            Runtime::Ready(answer) => return drop(answer.send(self.health.begun(&self.known))),
            Runtime::Asked(waiter) => {
                if waiter.is_add {
                    self.node.learn(waiter.sandbox.clone());
                }
                self.waiting.add(waiter);
            }
            Runtime::Cached(sandboxes) => self.node.learn_cached(sandboxes),
        }
        self.soon(TOGETHER);
    }

    /// Who asks may have gone meanwhile, and then needs no answer.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Alive(answer) => drop(answer.send(())),
            Question::Ready(answer) => drop(answer.send(self.health.ready(&self.known))),
            Question::Status(answer) => {
                let not_ready = self.health.ready(&self.known).err();
                drop(answer.send(self.reporter.status(&self.node, not_ready)));
            }
            Question::Metrics(answer) => match self.metrics() {
                Ok(text) => drop(answer.send(text)),
                Err(error) => report::no_metrics(&*error),
            },
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
}
