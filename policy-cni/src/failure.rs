//! What a plugin says when it fails, with the codes of the CNI specification.

use serde::Serialize;
use serde_json::json;
use thiserror::Error;

/// Why the plugin does not do what it is asked.
#[derive(Debug, Error)]
pub enum Failure {
    /// The configuration is of a version that this plugin does not know.
    #[error("CNI version {0:?} is not supported")]
    Version(String),
    /// The runtime left something out, or said something illegal.
    #[error("{variable} {problem}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The configuration could not be read from standard input.
    #[error("cannot read the configuration")]
    Input(#[source] std::io::Error),
    /// The configuration is longer than any is.
    #[error("the configuration has more than {0} bytes")]
    Length(u64),
    /// The configuration is no JSON, or a field has a wrong type.
    #[error("cannot decode the configuration")]
    Decode(#[source] serde_json::Error),
    /// The configuration makes no sense here.
    #[error("invalid configuration: {0}")]
    Configuration(&'static str),
    /// What the plugins before this one say cannot be understood.
    #[error("cannot decode prevResult")]
    Previous(#[source] serde_json::Error),
    /// The agent cannot be asked.
    #[error("cannot ask the agent at {socket}")]
    Agent {
        /// Path of its socket.
        socket: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agent has not answered in time.
    #[error("the agent at {socket} did not answer within {seconds} s")]
    Late {
        /// Path of its socket.
        socket: String,
        /// How long it had.
        seconds: u64,
    },
    /// The agent answered something else.
    #[error("the agent's answer cannot be understood")]
    Answer(#[source] serde_json::Error),
    /// The agent does not enforce the pod's policies.
    #[error("the pod is not under its policies: {0}")]
    NotEnforced(String),
    /// The agent does not speak for any pod yet.
    #[error("the agent is not ready: {0}")]
    NotReady(String),
}

/// What the specification wants on standard output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    cni_version: &'a str,
    code: u32,
    msg: String,
    details: String,
}

impl Failure {
    /// The code: below 100 the specification's own, from there this plugin's.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Version(_) => 1,
            Self::Environment { .. } => 4,
            Self::Input(_) => 5,
            Self::Length(_) | Self::Decode(_) | Self::Previous(_) => 6,
            Self::Configuration(_) => 7,
            // What it says may be true later.
            Self::Agent { .. } | Self::Late { .. } | Self::NotEnforced(_) | Self::NotReady(_) => 11,
            Self::Answer(_) => 100,
        }
    }

    /// Whether the pod may start all the same where it shall: the runtime named none, or the agent
    /// does not speak for it.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Environment { .. }
            | Self::Agent { .. }
            | Self::Late { .. }
            | Self::NotEnforced(_)
            | Self::NotReady(_)
            | Self::Answer(_) => true,
            Self::Version(_)
            | Self::Input(_)
            | Self::Length(_)
            | Self::Decode(_)
            | Self::Configuration(_)
            | Self::Previous(_) => false,
        }
    }

    /// The message and what caused it, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    /// The error JSON of the specification.
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
