//! Why a cluster could not be read.

use std::io;

use kube::config::{InClusterError, KubeconfigError};
use policy_cli::exit;

/// Why a cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "there is no kubeconfig to find a cluster by; name one with --kubeconfig or KUBECONFIG, or manifests with -f"
    )]
    NoKubeconfig(#[source] InClusterError),
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    #[error("the kubeconfig has no current context; name one with --context, or manifests with -f")]
    NoContext,
    #[error("the kubeconfig has no context {context}; it has {}", known.join(", "))]
    UnknownContext { context: String, known: Vec<String> },
    #[error("cannot start to talk to the cluster")]
    Runtime(#[source] io::Error),
    #[error("cannot make a client from the kubeconfig")]
    Client(#[source] Box<kube::Error>),
    #[error("cannot reach the API server {server}")]
    Unreachable {
        server: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the API server {server} does not know who asks; log in anew")]
    Unauthorized { server: String },
    #[error(
        "the right to list {resource} of the whole cluster is missing; have a ClusterRole with apiGroups: [\"{group}\"], \
         resources: [{resource}], verbs: [list] bound to you ({message})"
    )]
    Forbidden { resource: &'static str, group: &'static str, message: String },
    #[error("the API server refuses to list {resource}: {message}")]
    Refused { resource: &'static str, message: String },
    #[error("the answer to listing {resource} is no list")]
    NoList {
        resource: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// The exit code: what the user can mend in options and files is bad input, the rest the
    /// environment's fault.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::NoKubeconfig(_)
            | Self::Kubeconfig(_)
            | Self::NoContext
            | Self::UnknownContext { .. } => exit::INPUT,
            Self::Runtime(_)
            | Self::Client(_)
            | Self::Unreachable { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::NoList { .. } => exit::FAILED,
        }
    }
}
