//! Why the API server could not be found, or a request failed.
//!
//! One enum for every caller. The message names the request and, where a person can help, what to
//! do. The source, where there is one, is `kube`'s own error.

use std::time::Duration;

use kube::config::{InClusterError, KubeconfigError};
use thiserror::Error;

use crate::Resource;

/// Longest part of a server's message that is kept, in bytes: a proxy may answer with a whole page.
const MESSAGE: usize = 300;

/// Why the API server could not be found, or a request failed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is neither a kubeconfig nor the service account of a pod.
    #[error(
        "there is no kubeconfig and no service account of a pod; name a kubeconfig with \
         --kubeconfig or KUBECONFIG"
    )]
    NoKubeconfig(#[source] Box<InClusterError>),
    /// A kubeconfig that cannot be read, or has parts that do not fit together.
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// A kubeconfig without a current context.
    #[error("the kubeconfig has no current context; set one with kubectl config use-context")]
    NoContext,
    /// A context that was named and does not exist.
    #[error("the kubeconfig has no context {context}; it has {}", known.join(", "))]
    UnknownContext {
        /// The name.
        context: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// A certificate, key or proxy of the kubeconfig.
    #[error("cannot make a client from the kubeconfig")]
    Client(#[source] Box<kube::Error>),
    /// No response, or one that is cut off.
    #[error("cannot reach the API server {server} (GET {path})")]
    Unreachable {
        /// URL of the server.
        server: String,
        /// Path of the request.
        path: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server does not accept the credentials.
    #[error(
        "the API server {server} does not accept the credentials (GET {path}: {message}); log in \
         again, or renew the token"
    )]
    Unauthorized {
        /// URL of the server.
        server: String,
        /// Path of the request.
        path: String,
        /// The server's message.
        message: String,
    },
    /// The server does not allow the request.
    #[error(
        "GET {path} is forbidden: {message}; bind a ClusterRole with apiGroups: [\"{group}\"], \
         resources: [{plural}], verbs: [{verbs}]"
    )]
    Forbidden {
        /// Path of the request.
        path: String,
        /// API group of the resource.
        group: String,
        /// The resource.
        plural: String,
        /// The rights that are needed.
        verbs: &'static str,
        /// The server's message.
        message: String,
    },
    /// Any other refusal, by the server or by a proxy before it.
    #[error("GET {path} is answered by {code}: {message}")]
    Refused {
        /// Path of the request.
        path: String,
        /// HTTP status.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// A response that cannot be parsed.
    #[error("the response to GET {path} is not a list of the API")]
    NotAList {
        /// Path of the request.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A list that cannot be followed by a watch.
    #[error("the response to GET {path} has no resourceVersion")]
    NoResourceVersion {
        /// Path of the request.
        path: String,
    },
    /// A streamed list that ended before its end was marked.
    #[error("GET {path}: the list ends before it is complete")]
    Truncated {
        /// Path of the request.
        path: String,
    },
    /// A streamed list that neither continues nor ends.
    #[error("GET {path}: the list is not complete, and nothing new has arrived for {} s", idle.as_secs())]
    Stalled {
        /// Path of the request.
        path: String,
        /// Time without a new object.
        idle: Duration,
    },
    /// The server has the resource, but in no version that is read.
    #[error(
        "the API server has {plural} in version {} only, and this program reads {}: none of them is \
         evaluated; serve one of these versions, or install a release that reads the other",
        versions.join(", "), read.join(", ")
    )]
    UnsupportedVersions {
        /// The resource.
        plural: &'static str,
        /// The versions that are read.
        read: &'static [&'static str],
        /// Versions of the server.
        versions: Vec<String>,
    },
    /// An optional resource was refused, and discovery does not report whether it exists.
    #[error("{plural} cannot be read, and the API server does not report whether they exist")]
    PresenceUnknown {
        /// The resource.
        plural: &'static str,
        /// Why discovery failed.
        #[source]
        source: Box<Error>,
    },
    /// A response to discovery that is not from an API server.
    #[error("the response to GET /apis is not from an API server: it does not list {group}")]
    NotAnApiServer {
        /// A group that every API server has.
        group: &'static str,
    },
    /// No response to discovery in time.
    #[error("the API server has not answered GET /apis (discovery) for {} s", waited.as_secs())]
    DiscoveryTimeout {
        /// How long the agent has waited.
        waited: Duration,
    },
}

impl Error {
    /// Whether the kubeconfig, or the options that name it, must be corrected.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::NoKubeconfig(_)
                | Self::Kubeconfig(_)
                | Self::NoContext
                | Self::UnknownContext { .. }
        )
    }

    /// An optional resource was refused, and `source` is why discovery does not help.
    pub(crate) fn presence_unknown(resource: &Resource, source: Self) -> Self {
        Self::PresenceUnknown { plural: resource.plural, source: Box::new(source) }
    }

    /// HTTP status of a refusal.
    pub(crate) fn code(&self) -> Option<u16> {
        if matches!(self, Self::Unauthorized { .. }) {
            Some(401)
        } else if matches!(self, Self::Forbidden { .. }) {
            Some(403)
        } else if let Self::Refused { code, .. } = self {
            Some(*code)
        } else {
            None
        }
    }
}

/// As much of a server's message as is kept.
pub(crate) fn shortened(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE)].trim_end().to_owned()
}
