//! Asks the agent of this node over HTTP, for `status`, `off` and `on`.
//!
//! It needs no kubeconfig, and at an address no privilege.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use policy_report::status::Status;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime,
    time::timeout,
};

use super::listen::{STATUS_SOCKET, socket_address};

/// How long to wait for the agent's response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a response.
const MAX_RESPONSE: usize = 64 << 20;

/// Where the agent is asked, on the command line.
#[derive(Debug, Args)]
pub(super) struct PlaceOptions {
    /// Address of the agent, as in its option --listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9470",
        value_parser = socket_address)]
    address: SocketAddr,

    /// Socket of the agent, as in its option --status-socket, instead of an address [without SOCKET:
    /// /run/policy-agent/status.sock]
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = STATUS_SOCKET,
        conflicts_with = "address")]
    socket: Option<PathBuf>,
}

/// Where the agent is asked.
#[derive(Clone, Debug)]
pub(super) enum AgentPlace {
    Address(SocketAddr),
    Socket(PathBuf),
}

/// Why the agent does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no agent responds at {place}; run the agent with {}", place.option())]
    Connect {
        place: AgentPlace,
        #[source]
        source: io::Error,
    },
    #[error("the agent at {place} did not respond within {} s", TIMEOUT.as_secs())]
    Timeout { place: AgentPlace },
    #[error("cannot start the async runtime of the request")]
    Start(#[source] io::Error),
    #[error("cannot send a request to the agent")]
    Request(#[from] hyper::Error),
    #[error("cannot read the response of the agent")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the agent answers {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("cannot parse the response of the agent; it may have another version")]
    Parse(#[from] serde_json::Error),
}

impl AskError {
    /// Whether the agent runs and may answer soon.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Timeout { .. })
    }
}

impl PlaceOptions {
    /// The place that they name.
    pub(super) fn place(&self) -> AgentPlace {
        let socket = self.socket.clone().map(AgentPlace::Socket);
        socket.unwrap_or(AgentPlace::Address(self.address))
    }
}

impl AgentPlace {
    /// The state of the agent.
    pub(super) fn status(&self) -> Result<Status, AskError> {
        Ok(serde_json::from_slice(&self.get("/status")?)?)
    }

    /// The body of the agent's response.
    pub(super) fn get(&self, path: &'static str) -> Result<Bytes, AskError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let body = async { timeout(TIMEOUT, get(self, path)).await };
        let body = runtime.map_err(AskError::Start)?.block_on(body);
        body.unwrap_or_else(|_elapsed| Err(AskError::Timeout { place: self.clone() }))
    }

    /// The option of `policy-agent run` that makes an agent listen here.
    fn option(&self) -> String {
        match self {
            Self::Address(address) => format!("--listen {address}"),
            Self::Socket(socket) => format!("--status-socket {}", socket.display()),
        }
    }
}

impl fmt::Display for AgentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(socket) => socket.display().fmt(f),
        }
    }
}

async fn get(place: &AgentPlace, path: &'static str) -> Result<Bytes, AskError> {
    let failed = |source| AskError::Connect { place: place.clone(), source };
    match place {
        AgentPlace::Address(address) => {
            exchange(TcpStream::connect(address).await.map_err(failed)?, path).await
        }
        AgentPlace::Socket(socket) => {
            exchange(UnixStream::connect(socket).await.map_err(failed)?, path).await
        }
    }
}

/// Sends a request over a connection; the body of the response.
async fn exchange<S>(stream: S, path: &'static str) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = hyper::Uri::from_static(path);
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body =
            Limited::new(body, MAX_RESPONSE).collect().await.map_err(AskError::Read)?.to_bytes();
        if head.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(AskError::Refused { status: head.status, text });
        }
        Ok(body)
    };
    tokio::pin!(exchange);
    tokio::select! {
        body = &mut exchange => body,
        // The connection may end before the response is read.
        ended = connection => { ended?; exchange.await }
    }
}
