//! Errors of the plugin, with the codes of the CNI specification.

use serde::Serialize;
use serde_json::json;
use thiserror::Error;

/// Why the plugin cannot do what the runtime requests.
#[derive(Debug, Error)]
pub enum PluginError {
    /// The configuration has a version that this plugin does not support.
    #[error("CNI version {0:?} is not supported")]
    Version(String),
    /// A variable is missing or invalid.
    #[error("{variable} {problem}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Standard input cannot be read.
    #[error("cannot read the configuration")]
    Input(#[source] std::io::Error),
    /// The configuration is too long.
    #[error("the configuration has more than {0} bytes")]
    Length(u64),
    /// The configuration is not JSON, or a field has the wrong type.
    #[error("cannot decode the configuration")]
    Decode(#[source] serde_json::Error),
    /// The configuration is valid JSON but of no use here.
    #[error("invalid configuration: {0}")]
    Configuration(&'static str),
    /// The result of the plugins before this one is invalid.
    #[error("cannot decode prevResult")]
    PreviousResult(#[source] serde_json::Error),
    /// The agent cannot be reached.
    #[error("cannot reach the agent at {socket} (is its pod running on this node?)")]
    Unreachable {
        /// Path of its socket.
        socket: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agent did not respond in time.
    #[error("the agent at {socket} did not respond within {seconds} s")]
    Timeout {
        /// Path of its socket.
        socket: String,
        /// How long it had.
        seconds: u64,
    },
    /// The agent's response is not of the protocol.
    #[error("cannot decode the agent's response")]
    Response(#[source] serde_json::Error),
    /// The agent does not enforce the pod's policies yet.
    #[error("the pod's policies are not in force: {0}")]
    NotEnforced(String),
    /// The agent does not handle pods yet.
    #[error("the agent is not ready: {0}")]
    NotReady(String),
}

/// An error as the specification wants it on standard output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    cni_version: &'a str,
    code: u32,
    msg: String,
    details: String,
}

impl PluginError {
    /// Its code: below 100 one of the specification, from 100 one of this plugin.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Version(_) => 1,
            Self::Environment { .. } => 4,
            Self::Input(_) => 5,
            Self::Length(_) | Self::Decode(_) | Self::PreviousResult(_) => 6,
            Self::Configuration(_) => 7,
            // "Try again later".
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::NotEnforced(_)
            | Self::NotReady(_) => 11,
            Self::Response(_) => 100,
        }
    }

    /// Whether `"fail": "open"` lets the pod start: the runtime named no pod, or the agent does not
    /// enforce its policies. A broken configuration always stops it.
    pub(crate) fn may_fail_open(&self) -> bool {
        match self {
            Self::Environment { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::NotEnforced(_)
            | Self::NotReady(_)
            | Self::Response(_) => true,
            Self::Version(_)
            | Self::Input(_)
            | Self::Length(_)
            | Self::Decode(_)
            | Self::Configuration(_)
            | Self::PreviousResult(_) => false,
        }
    }

    /// The message and its cause, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    /// The error in the JSON of the specification.
    pub(crate) fn report(&self, version: &str, code: u32) -> String {
        let report = Report {
            cni_version: version,
            code,
            msg: self.to_string(),
            details: self.cause().unwrap_or_default(),
        };
        format!("{}\n", json!(report))
    }

    fn cause(&self) -> Option<String> {
        std::error::Error::source(self).map(ToString::to_string)
    }
}
