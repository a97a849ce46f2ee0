//! What a daemon is started with, and why it ends.

use std::{io, path::PathBuf, time::Duration};

use policy_kube::Access;

use super::runtime::CniConfig;
use crate::{
    cni::SocketError,
    dataplane::DataplaneError,
    flows::{FlowLogError, FlowLogTarget},
    http::Listen,
    net::NetError,
    node::{NodeConfig, NodeError},
    source::files::FilesError,
};

/// What a daemon is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// The node.
    pub node: NodeConfig,
    /// Where the state of the cluster comes from.
    pub source: Origin,
    /// Where dropped packets are logged.
    pub flow_log: FlowLogTarget,
    /// The most bytes for the history of denied flows; 0 keeps none.
    pub flow_memory: usize,
    /// Where health, status and metrics are served.
    pub listen: Listen,
    /// How often the kernel's state is read back and repaired; never where it is zero.
    pub verify_interval: Duration,
    /// Which parts of the container runtime the agent works with.
    pub cni: CniConfig,
}

/// Where the state of the cluster comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder or file of manifests.
    Manifests(PathBuf),
    /// An API server.
    Kubernetes(Access),
}

/// Why a daemon cannot start, or cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The dataplane or the network.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The kernel's notifications of links and addresses.
    #[error("cannot watch the node's links")]
    Links(#[from] NetError),
    /// The records of dropped packets.
    #[error("cannot read the records of dropped packets")]
    Drops(#[source] Box<DataplaneError>),
    /// The thread of the HTTP server.
    #[error("cannot start the HTTP server")]
    Http(#[source] io::Error),
    /// The socket of the CNI plugin.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The flow log.
    #[error(transparent)]
    FlowLog(#[from] FlowLogError),
    /// No API server was found.
    #[error(
        "cannot follow a cluster; name its kubeconfig with --kubeconfig, or a folder with --manifests"
    )]
    Kubernetes(#[source] Box<policy_kube::Error>),
    /// Manifests are invalid at the start.
    #[error(transparent)]
    Manifests(#[from] FilesError),
    /// The task that watches the cluster has ended.
    #[error("the task that watches the cluster has ended")]
    Source,
}
