//! The agents of a lab: one per node, each on a thread inside the network namespace of its node.
//!
//! Input: a node's name and namespace, then snapshots to enforce.
//! Output: the result of each reconcile, the drop counters, and a stream of reports of dropped packets.
//! The code that runs is [`policy_agent::node::Node`], the same as in `policy-agent run`; only the
//! daemon around it (sources, metrics, API) is missing.

use std::{collections::BTreeMap, io, thread};

use policy_agent::{
    dataplane::{DataplaneError, Drops},
    flows::{self, DroppedPacket},
    node::{HeldBack, Node, NodeConfig, NodeError, NotAttached, Reconciled},
};
use policy_common::drops::{DropKey, DropRecord};
use policy_core::model::{ObjectName, Snapshot};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use crate::netns::{self, Namespace};

/// Why an agent cannot enforce.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent's thread or its async runtime could not be started.
    #[error("cannot start a thread for the agent")]
    Thread(#[source] io::Error),
    /// The agent's thread could not enter the node's network namespace.
    #[error(transparent)]
    Namespace(#[from] netns::NetnsError),
    /// The node failed to start or to reconcile.
    #[error(transparent)]
    Node(#[from] Box<NodeError>),
    /// The drop records or drop counters could not be read.
    #[error("cannot read drop records or counters")]
    Drops(#[source] Box<DataplaneError>),
    /// Pods of the node have no interface.
    #[error("found no interface of {}", join(pods))]
    NoInterface {
        /// The pods.
        pods: Vec<ObjectName>,
    },
    /// The programs are not attached to a pod's interface.
    #[error("nothing is enforced at pod {pod}: {reason}")]
    NotAttached {
        /// The pod.
        pod: ObjectName,
        /// Why the programs are not attached.
        reason: String,
    },
    /// The maps have no space for the policies of a namespace.
    #[error("no space for the policies of namespace {namespace}: {reason}")]
    HeldBack {
        /// The namespace.
        namespace: String,
        /// Which map is full.
        reason: String,
    },
    /// The agent's thread has ended.
    #[error("the agent has ended")]
    Gone,
}

/// A dropped packet, as the agent reports it.
#[derive(Clone, Debug)]
pub struct DropReport {
    /// The kernel's record.
    pub record: DropRecord,
    /// The line of the flow log.
    pub line: String,
    /// The note of the Event; `None` where no policy denied the packet.
    pub event: Option<String>,
}

/// A running agent. Dropping it ends its thread, and with it its programs, maps and links.
#[derive(Debug)]
pub struct Agent {
    /// Name of the agent's node.
    pub node: String,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A request to the agent's thread, with the channel for the response.
enum Request {
    Reconcile(Box<Snapshot>, oneshot::Sender<Result<Reconciled, AgentError>>),
    DropCounts(oneshot::Sender<Result<BTreeMap<DropKey, u64>, AgentError>>),
}

impl Agent {
    /// Starts the agent of a node in the node's namespace; it sends a report of each drop to
    /// `reports`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started, or the kernel rejects the programs.
    pub async fn start(
        namespace: Namespace,
        config: NodeConfig,
        reports: mpsc::UnboundedSender<DropReport>,
    ) -> Result<Self, AgentError> {
        let (requests, inbox) = mpsc::channel(1);
        let (started, start) = oneshot::channel();
        let node = config.node.clone();
        let thread = thread::Builder::new()
            .name(format!("agent {node}"))
            .spawn(move || run_thread(&namespace, config, started, inbox, &reports))
            .map_err(AgentError::Thread)?;
        let agent = Self { node, requests: Some(requests), thread: Some(thread) };
        start.await.unwrap_or(Err(AgentError::Gone)).map(|()| agent)
    }

    /// Enforces a snapshot, completely: a pod that is not enforced is an error.
    ///
    /// # Errors
    ///
    /// Where the node cannot reconcile, a pod has no interface or no programs, or a namespace
    /// is held back.
    pub async fn reconcile(&self, snapshot: &Snapshot) -> Result<Reconciled, AgentError> {
        let snapshot = Box::new(snapshot.clone());
        let reconciled = self.request(|done| Request::Reconcile(snapshot, done)).await?;
        if !reconciled.pods_without_interface.is_empty() {
            return Err(AgentError::NoInterface { pods: reconciled.pods_without_interface });
        }
        if let Some(NotAttached { pod, reason }) = reconciled.not_attached.first().cloned() {
            return Err(AgentError::NotAttached { pod, reason });
        }
        match reconciled.held_back.first().cloned() {
            None => Ok(reconciled),
            Some(HeldBack { namespace, reason }) => Err(AgentError::HeldBack { namespace, reason }),
        }
    }

    /// Reads the agent's drop counters.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    pub async fn drop_counts(&self) -> Result<BTreeMap<DropKey, u64>, AgentError> {
        self.request(Request::DropCounts).await
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, AgentError>>) -> Request,
    ) -> Result<T, AgentError> {
        let (done, response) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(AgentError::Gone)?;
        requests.send(request(done)).await.map_err(|_closed| AgentError::Gone)?;
        response.await.unwrap_or(Err(AgentError::Gone))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A closed channel ends the thread.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The panic hook has printed a panic of the thread.
            let _ = thread.join();
        }
    }
}

/// The body of the agent's thread: enters the namespace, then serves requests.
///
/// The dataplane attaches to interfaces of its thread's namespace, so the whole runtime lives on
/// this thread.
fn run_thread(
    namespace: &Namespace,
    config: NodeConfig,
    started: oneshot::Sender<Result<(), AgentError>>,
    inbox: mpsc::Receiver<Request>,
    reports: &mpsc::UnboundedSender<DropReport>,
) {
    let enter = || {
        namespace.enter()?;
        runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Thread)
    };
    match enter() {
        Ok(runtime) => runtime.block_on(serve(config, started, inbox, reports)),
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn serve(
    config: NodeConfig,
    started: oneshot::Sender<Result<(), AgentError>>,
    mut inbox: mpsc::Receiver<Request>,
    reports: &mpsc::UnboundedSender<DropReport>,
) {
    let (mut node, mut drops) = match open(config) {
        Ok(both) => both,
        Err(error) => return drop(started.send(Err(error))),
    };
    if started.send(Ok(())).is_err() {
        return;
    }
    loop {
        tokio::select! {
            request = inbox.recv() => match request {
                Some(request) => respond(&mut node, request).await,
                None => return,
            },
            record = drops.next() => {
                // A record of unexpected length matches no probe; that probe is reported as lost.
                if let Ok(record) = record {
                    let _ = reports.send(report(&record, &mut node));
                }
            }
        }
    }
}

/// The drop as the flow log and an Event have it.
fn report(record: &DropRecord, node: &mut Node) -> DropReport {
    let packet = DroppedPacket::new(record, node);
    let denied = packet.denied_connection();
    DropReport {
        record: *record,
        line: flows::log_line(&packet).unwrap_or_default(),
        event: denied.map(|(connection, _)| packet.denial_note(&connection)),
    }
}

/// Responds to a request; the caller may have stopped waiting, which is no error.
async fn respond(node: &mut Node, request: Request) {
    match request {
        Request::Reconcile(snapshot, done) => {
            let outcome = node.reconcile(&snapshot).await;
            let _ = done.send(outcome.map_err(|error| AgentError::Node(Box::new(error))));
        }
        Request::DropCounts(done) => {
            let counts = node.dataplane().drop_counts();
            let _ = done.send(counts.map_err(|error| AgentError::Drops(Box::new(error))));
        }
    }
}

fn open(config: NodeConfig) -> Result<(Node, Drops), AgentError> {
    let mut node = Node::start(config).map_err(|error| AgentError::Node(Box::new(error)))?;
    let drops = node.dataplane().drops().map_err(|error| AgentError::Drops(Box::new(error)))?;
    Ok((node, drops))
}

fn join(pods: &[ObjectName]) -> String {
    pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
