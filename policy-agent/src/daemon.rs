//! The daemon: a source, the node's network and the kernel, kept in step for as long as it runs.

mod report;
mod retry;

use std::{future::Future, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use policy_core::model::Snapshot;
use policy_manifest::Manifests;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use crate::{
    dataplane::DataplaneError,
    flow_log::{Attribution, FlowLog, FlowLogError, Target},
    net::{Changes, NetError},
    node::{Node, NodeConfig, NodeError},
    source::files::{self, FilesError},
};

use report::Reporter;
use retry::Retry;

/// How long an agent without anything to do waits before it looks again: addresses inside of a
/// pod change without a word to the node.
const IDLE: Duration = Duration::from_secs(10);

/// What a daemon is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// The node.
    pub node: NodeConfig,
    /// Folder, or file, of manifests.
    pub manifests: PathBuf,
    /// Where dropped packets are told.
    pub flow_log: Target,
}

/// Why a daemon cannot begin, or cannot go on.
#[derive(Debug, Error)]
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
    /// The flow log.
    #[error(transparent)]
    FlowLog(#[from] FlowLogError),
    /// The task that follows the manifests has ended.
    #[error("nobody follows the manifests any more")]
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
/// Only what cannot be tried again. Broken manifests leave the last good state; steps that fail are
/// tried again.
pub async fn run(config: DaemonConfig, stop: impl Future<Output = ()>) -> Result<(), DaemonError> {
    let mut stop = pin!(stop);
    let mut network = Changes::open()?;
    let mut manifests = files::follow(&config.manifests);
    let log = FlowLog::open(&config.flow_log)?;
    let mut node = Node::start(config.node)?;
    let drops = node.dataplane().drops();
    let mut drops = drops.map_err(|source| DaemonError::Drops(Box::new(source)))?;
    let mut daemon = Daemon::new(node, log);
    loop {
        // What ends and what enforces goes before what only tells.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            outcome = manifests.recv() => daemon.take(outcome.ok_or(DaemonError::Source)?),
            changed = network.next() => {
                changed?;
                daemon.due = Instant::now();
            }
            () = sleep_until(daemon.due), if daemon.snapshot.is_some() => daemon.reconcile().await,
            record = drops.next() => match record {
                Ok(record) => daemon.log.write(&record),
                Err(error) => report::unreadable(&error),
            },
        }
    }
}

/// A node, what it should enforce, and when it is to be looked at next.
struct Daemon {
    node: Node,
    /// The last good one; nothing is enforced, and nothing given up, before the first.
    snapshot: Option<Arc<Snapshot>>,
    due: Instant,
    retry: Retry,
    reporter: Reporter,
    log: FlowLog,
}

impl Daemon {
    fn new(node: Node, log: FlowLog) -> Self {
        let (retry, reporter) = (Retry::new(), Reporter::default());
        Self { node, snapshot: None, due: Instant::now(), retry, reporter, log }
    }

    fn take(&mut self, outcome: Result<Manifests, FilesError>) {
        match outcome {
            Ok(manifests) => {
                report::input(&manifests);
                self.snapshot = Some(Arc::new(manifests.snapshot));
                self.due = Instant::now();
                self.retry = Retry::new();
            }
            Err(error) => report::broken(&error, self.snapshot.is_some()),
        }
    }

    async fn reconcile(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        let wait = match self.node.reconcile(snapshot).await {
            Ok(reconciled) => {
                let (desired, endpoints) = (self.node.desired(), self.node.actual().endpoints());
                let name = self.node.name();
                self.log.attribute(Attribution::new(
                    name,
                    Arc::clone(snapshot),
                    desired,
                    endpoints,
                ));
                let waits = !reconciled.pods_without_interface.is_empty();
                let told = self.reporter.reconciled(reconciled);
                if told || !waits {
                    self.retry = Retry::new();
                }
                // A pod whose interface has no address yet gets one without a word to the node.
                if waits { self.retry.next().min(IDLE) } else { IDLE }
            }
            Err(error) => {
                let wait = self.retry.next();
                report::failed(&error, wait);
                wait
            }
        };
        self.due = Instant::now() + wait;
    }
}
