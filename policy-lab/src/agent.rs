//! The agents of a lab: the code of a real node, each on a thread inside its node's namespace.

use std::{collections::BTreeMap, io, path::PathBuf, thread};

use policy_common::drops::{DropKey, DropRecord};
use policy_core::model::{ObjectName, Snapshot};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use super::netns::{self, Namespace};
use policy_agent::{
    dataplane::{DataplaneError, Drops, Parts},
    node::{HeldBack, Node, NodeConfig, NodeError, NotAttached, Reconciled},
};

/// Why an agent does not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its thread or runtime.
    #[error("cannot start a thread for the agent")]
    Thread(#[source] io::Error),
    /// Its namespace.
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] Box<NodeError>),
    /// Its drop records or counters.
    #[error("cannot read drop records or counters")]
    Drops(#[source] Box<DataplaneError>),
    /// It has not found every pod of its node.
    #[error("found no interface of {}", listed(pods))]
    Undiscovered {
        /// The pods.
        pods: Vec<ObjectName>,
    },
    /// An interface is without its classifiers.
    #[error("nothing is enforced at pod {pod}: {reason}")]
    NotAttached {
        /// The pod.
        pod: ObjectName,
        /// Why.
        reason: String,
    },
    /// Policies found no room.
    #[error("no room for the policies of namespace {namespace}: {reason}")]
    HeldBack {
        /// The namespace.
        namespace: String,
        /// What is full.
        reason: String,
    },
    /// Its thread ended.
    #[error("the agent has ended")]
    Gone,
}

/// An agent at work; it ends when dropped, and with it its programs, maps and links.
#[derive(Debug)]
pub struct Agent {
    /// Its node.
    pub node: String,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What an agent is asked for, and where to answer.
enum Order {
    Reconcile(Box<Snapshot>, oneshot::Sender<Result<Reconciled, Error>>),
    Count(oneshot::Sender<Result<BTreeMap<DropKey, u64>, Error>>),
}

impl Agent {
    /// Starts the agent of `node` in its namespace; it pins under `pins`, if anywhere, and its drop records go to `records`.
    ///
    /// # Errors
    ///
    /// Where the kernel gives no thread, or refuses the programs.
    pub async fn start(
        node: &str,
        namespace: Namespace,
        parts: Parts,
        pins: Option<PathBuf>,
        records: mpsc::UnboundedSender<DropRecord>,
    ) -> Result<Self, Error> {
        let (orders, inbox) = mpsc::channel(1);
        let (started, start) = oneshot::channel();
        let config = NodeConfig { parts, pins, ..NodeConfig::new(node) };
        let thread = thread::Builder::new()
            .name(format!("agent {node}"))
            .spawn(move || live(&namespace, config, started, inbox, &records))
            .map_err(Error::Thread)?;
        let agent = Self { node: node.to_owned(), orders: Some(orders), thread: Some(thread) };
        start.await.unwrap_or(Err(Error::Gone)).map(|()| agent)
    }

    /// Makes the agent enforce a snapshot.
    ///
    /// # Errors
    ///
    /// Where it cannot, or a pod of its node has no interface.
    pub async fn reconcile(&self, snapshot: &Snapshot) -> Result<Reconciled, Error> {
        let snapshot = Box::new(snapshot.clone());
        let reconciled = self.ask(|done| Order::Reconcile(snapshot, done)).await?;
        if !reconciled.pods_without_interface.is_empty() {
            return Err(Error::Undiscovered { pods: reconciled.pods_without_interface });
        }
        if let Some(NotAttached { pod, reason }) = reconciled.not_attached.first().cloned() {
            return Err(Error::NotAttached { pod, reason });
        }
        match reconciled.held_back.first().cloned() {
            None => Ok(reconciled),
            Some(HeldBack { namespace, reason }) => Err(Error::HeldBack { namespace, reason }),
        }
    }

    /// Reads the agent's drop counters.
    ///
    /// # Errors
    ///
    /// Where it cannot.
    pub async fn drop_counts(&self) -> Result<BTreeMap<DropKey, u64>, Error> {
        self.ask(Order::Count).await
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Order,
    ) -> Result<T, Error> {
        let (done, outcome) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or(Error::Gone)?;
        orders.send(order(done)).await.map_err(|_closed| Error::Gone)?;
        outcome.await.unwrap_or(Err(Error::Gone))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by its hook.
            let _ = thread.join();
        }
    }
}

/// The life of an agent's thread.
fn live(
    namespace: &Namespace,
    config: NodeConfig,
    started: oneshot::Sender<Result<(), Error>>,
    inbox: mpsc::Receiver<Order>,
    records: &mpsc::UnboundedSender<DropRecord>,
) {
    let begin = || {
        namespace.enter()?;
        runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)
    };
    match begin() {
        Ok(runtime) => runtime.block_on(work(config, started, inbox, records)),
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn work(
    config: NodeConfig,
    started: oneshot::Sender<Result<(), Error>>,
    mut inbox: mpsc::Receiver<Order>,
    records: &mpsc::UnboundedSender<DropRecord>,
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
            order = inbox.recv() => match order {
                Some(order) => obey(&mut node, order).await,
                None => return,
            },
            record = drops.next() => {
                // A record of another length cannot be attributed; the probe will count as lost.
                if let Ok(record) = record {
                    let _ = records.send(record);
                }
            }
        }
    }
}

/// Who asked may have gone meanwhile, and then needs no answer.
async fn obey(node: &mut Node, order: Order) {
    match order {
        Order::Reconcile(snapshot, done) => {
            let outcome = node.reconcile(&snapshot).await;
            let _ = done.send(outcome.map_err(|error| Error::Node(Box::new(error))));
        }
        Order::Count(done) => {
            let counts = node.dataplane().drop_counts();
            let _ = done.send(counts.map_err(|error| Error::Drops(Box::new(error))));
        }
    }
}

fn open(config: NodeConfig) -> Result<(Node, Drops), Error> {
    let mut node = Node::start(config).map_err(|error| Error::Node(Box::new(error)))?;
    let drops = node.dataplane().drops().map_err(|error| Error::Drops(Box::new(error)))?;
    Ok((node, drops))
}

fn listed(pods: &[ObjectName]) -> String {
    pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
