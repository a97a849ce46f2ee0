//! What the container runtime sends: requests of the CNI plugin, and its cache of results (S47).

use std::{future, path::PathBuf};

use policy_core::intent::Sandbox;
use tokio::sync::{mpsc::Receiver, oneshot};

use super::metrics::Metrics;
use crate::cni::{self, Installation, PendingPod, PluginRequest, SocketError, SocketLock};

/// Which parts of the container runtime the agent works with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniConfig {
    /// Socket for the chained plugin.
    pub socket: Option<PathBuf>,
    /// Folder of libcni's cache of results.
    pub cache: Option<PathBuf>,
    /// How to install the plugin; `None` where it is not installed on this node.
    pub installation: Option<Installation>,
}

impl CniConfig {
    /// Locks the socket, if there is one; waits for an agent that is ending.
    pub(super) async fn lock_socket(&self) -> Result<Option<SocketLock>, SocketError> {
        match &self.socket {
            Some(socket) => SocketLock::acquire(socket).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The channels on which the runtime's events arrive.
#[derive(Debug)]
pub(super) struct RuntimeEvents {
    requests: Option<Receiver<PluginRequest>>,
    cache: Option<Receiver<Vec<Sandbox>>>,
}

/// An event of the runtime.
#[derive(Debug)]
pub(super) enum RuntimeEvent {
    /// STATUS: whether the agent handles pods.
    Status(oneshot::Sender<Result<(), String>>),
    /// ADD or CHECK of a pod.
    Pod(PendingPod),
    /// All sandboxes in the cache, which changed.
    Cache(Vec<Sandbox>),
}

impl RuntimeEvents {
    /// Serves the socket, then installs the plugin: once it is installed, pods wait at the socket.
    pub(super) fn open(
        lock: Option<SocketLock>,
        config: CniConfig,
        metrics: &mut Metrics,
    ) -> Result<Self, SocketError> {
        let CniConfig { cache, installation, .. } = config;
        let requests = lock.map(cni::serve).transpose()?;
        if let Some(installation) = installation {
            tokio::spawn(cni::keep_installed(installation, metrics.plugin()));
        }
        Ok(Self { requests, cache: cache.map(cni::follow_cache) })
    }

    /// The next event; never returns where nothing can send one.
    pub(super) async fn next(&mut self) -> RuntimeEvent {
        tokio::select! {
            Some(request) = receive(&mut self.requests) => match request {
                PluginRequest::Status(response) => RuntimeEvent::Status(response),
                PluginRequest::Pod(pod) => RuntimeEvent::Pod(pod),
            },
            Some(sandboxes) = receive(&mut self.cache) => RuntimeEvent::Cache(sandboxes),
            else => future::pending().await,
        }
    }
}

async fn receive<T>(channel: &mut Option<Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => future::pending().await,
    }
}
