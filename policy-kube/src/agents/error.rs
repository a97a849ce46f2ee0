//! Why an agent has no answer.

use std::time::Duration;

use thiserror::Error;

/// Why an agent has no answer.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its pod does not run.
    #[error("the agent's pod {pod} does not run: it is {phase}")]
    NotRunning {
        /// `metadata.name`.
        pod: String,
        /// `status.phase`.
        phase: String,
    },
    /// It has no option `--listen`.
    #[error("the agent does not listen: it has no option --listen")]
    NotListening,
    /// The API server, or kubelet, does not forward the port.
    #[error("cannot forward a port to the agent's pod")]
    Forward {
        /// Why.
        #[source]
        source: Box<crate::Error>,
    },
    /// The forwarded connection has no stream.
    #[error("the API server forwards the port without a stream of bytes")]
    NoStream,
    /// Kubelet cannot connect to the port.
    #[error("nothing answers at port {port} of the agent: {why}")]
    Port {
        /// The port.
        port: u16,
        /// Kubelet's message.
        why: String,
    },
    /// The request is not a path.
    #[error("the request is not a path")]
    Path(#[source] http::Error),
    /// The exchange failed.
    #[error("the connection to the agent failed")]
    Http(#[from] hyper::Error),
    /// The answer cannot be read.
    #[error("cannot read the answer of the agent")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The agent refuses the request.
    #[error("the agent answers {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The agent's message.
        text: String,
    },
    /// No answer in time.
    #[error("the agent has not answered for {} s", limit.as_secs())]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
}

impl AgentError {
    /// Whether the caller lacks the right to forward ports, which then holds for every agent.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forward { source } if source.code() == Some(403))
    }
}
