//! Why a watch is broken.

use std::time::Duration;

use kube::{core::Status, runtime::watcher::Error};
use thiserror::Error;

use super::{Kind, discovery::DiscoveryError, watch::status};

/// Longest part of an answer that is told, in bytes: somebody else's may be a page.
const MESSAGE: usize = 300;

/// Why a watch is broken; it is tried again, with growing waits.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The server does not let this agent list or watch the kind.
    #[error(
        "GET {path} is refused, which the ClusterRole policy-agent of the manifest allows: {message}"
    )]
    Refused {
        /// Where the kind is.
        path: String,
        /// The server's words.
        message: String,
    },
    /// The server has the kind in versions that this agent does not read.
    #[error("the API server has version {} alone, which this agent does not read", .0.join(", "))]
    Version(Vec<String>),
    /// The kind is not found or refused, and whether the server has it cannot be told.
    #[error("not found, and no API server says that it does not have them")]
    Unclear(#[source] Box<DiscoveryError>),
    /// A list ended before it was complete.
    #[error("the list ends before it is complete")]
    Cut,
    /// A list that is streamed neither goes on nor ends.
    #[error("the list is not complete, and does not go on for {} s", .0.as_secs())]
    Endless(Duration),
    /// Any other answer of the server, or of somebody else.
    #[error("GET {path} is answered by {code}: {message}")]
    Answer {
        /// What was asked for.
        path: String,
        /// HTTP status.
        code: u16,
        /// What else was said.
        message: String,
    },
    /// There is no answer, or none that could be read.
    #[error("GET {path}")]
    Watch {
        /// What was asked for.
        path: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
}

impl WatchError {
    pub(super) fn of(kind: Kind, error: Error) -> Self {
        let path = kind.path();
        let Some(Status { code, message, .. }) = status(&error) else {
            return Self::Watch { path, source: Box::new(error) };
        };
        let message = message[..message.floor_char_boundary(MESSAGE)].trim_end().to_owned();
        match *code {
            403 => Self::Refused { path, message },
            code => Self::Answer { path, code, message },
        }
    }
}
