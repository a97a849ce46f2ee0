//! Why a watch is broken.

use kube::runtime::watcher::Error;
use thiserror::Error;

use super::{Kind, discovery::DiscoveryError, watch::status};

/// Why a watch is broken; it is tried again, with growing waits.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The server does not let this agent list or watch the kind.
    #[error(
        "{kind} may not be listed and watched ({path}), which the ClusterRole policy-agent of the \
         manifest allows"
    )]
    Refused {
        /// The kind.
        kind: Kind,
        /// Where it is.
        path: String,
        /// The server's words.
        #[source]
        source: Box<Error>,
    },
    /// The server has the kind in versions that this agent does not read.
    #[error("{0} are there in version {1} alone, which this agent does not read", kind, versions.join(", "))]
    Version {
        /// The kind.
        kind: Kind,
        /// The versions.
        versions: Vec<String>,
    },
    /// The kind is not found or refused, and whether the server has it cannot be told.
    #[error("{kind} are not found, and no API server says that it does not have them")]
    Unclear {
        /// The kind.
        kind: Kind,
        /// Why not.
        #[source]
        source: Box<DiscoveryError>,
    },
    /// A list ended before it was complete.
    #[error("the list of {0} ends before it is complete")]
    Cut(Kind),
    /// Everything else.
    #[error("GET {path}")]
    Watch {
        /// What was asked for.
        path: String,
        /// Why there is no answer.
        #[source]
        source: Box<Error>,
    },
}

impl WatchError {
    pub(super) fn of(kind: Kind, error: Error) -> Self {
        let (path, refused) = (kind.path(), status(&error) == Some(403));
        let source = Box::new(error);
        if refused { Self::Refused { kind, path, source } } else { Self::Watch { path, source } }
    }
}
