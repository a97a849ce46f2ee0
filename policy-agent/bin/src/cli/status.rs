//! The command `policy-agent status`: asks the agent of this node, and prints its pods and policies.
//!
//! It reads `GET /status` of the agent, so it needs no privilege and no kubeconfig. `-o json` prints
//! the response as it is. With `--check` it asks only whether the agent runs or is ready, for kubelet's
//! probes: at the agent's socket no other process of the node can answer them.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use comfy_table::{Cell, Color};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use policy_agent::status::{Pod, PodState, Policy, PolicyState, Status};
use policy_probe::{exit, grid, options::TableFormat, terminal};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime,
    time::timeout,
};

use super::listen::{STATUS_SOCKET, socket_address};

const HELP: &str = "\
Examples:
  kubectl -n policy-system exec daemonset/policy-agent -- /policy-agent status
      show pods and policies of the node of one of the agents
  policy-agent status -o json
      on a node itself, print JSON
  policy-agent status --address 127.0.0.1:9471
      ask an agent that runs with --listen 127.0.0.1:9471
  policy-agent status --socket --check alive
      as root, ask an agent that runs with --status-socket whether it runs; prints nothing if it does

Exit codes:
  0  all policies are enforced for all pods of the node, or the check succeeded
  1  a policy is not enforced, or only in part; the table shows which
  2  wrong usage
  3  no agent responds, it has no state yet, or the check failed";

/// How long to wait for the agent's response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a response.
const MAX_RESPONSE: usize = 64 << 20;

/// Options of `policy-agent status`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StatusArguments {
    /// Address of the agent, as in its option --listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9470",
        value_parser = socket_address)]
    address: SocketAddr,

    /// Socket of the agent, as in its option --status-socket, instead of an address [without SOCKET:
    /// /run/policy-agent/status.sock]
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = STATUS_SOCKET,
        conflicts_with = "address")]
    socket: Option<PathBuf>,

    /// Print nothing; only check whether the agent runs, or whether it is ready
    #[arg(long, value_name = "WHAT", value_enum, conflicts_with = "output")]
    check: Option<StatusCheck>,

    /// Format of the state on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,
}

/// What `--check` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusCheck {
    /// Whether the agent runs and answers
    Alive,
    /// Whether it enforces what the cluster asks for
    Ready,
}

/// Where the agent is asked.
#[derive(Clone, Debug)]
enum AgentPlace {
    Address(SocketAddr),
    Socket(PathBuf),
}

#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error("no agent responds at {place}; run the agent with {}", place.option())]
    Connect {
        place: AgentPlace,
        #[source]
        source: io::Error,
    },
    #[error("the agent at {place} did not respond within {} s", TIMEOUT.as_secs())]
    Timeout { place: AgentPlace },
    #[error("cannot send a request to the agent")]
    Request(#[from] hyper::Error),
    #[error("cannot read the response of the agent")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the agent answers {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("cannot parse the response of the agent; it may have another version")]
    Parse(#[from] serde_json::Error),
    #[error("cannot write to standard output")]
    Write(#[from] io::Error),
}

/// Asks the agent of this node, prints its state and returns the exit code.
pub(super) fn main(arguments: &StatusArguments) -> u8 {
    let outcome = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StatusError::Write)
        .and_then(|runtime| runtime.block_on(answer(arguments)));
    outcome.unwrap_or_else(|error| {
        terminal::error(&error);
        exit::FAILED
    })
}

async fn answer(arguments: &StatusArguments) -> Result<u8, StatusError> {
    let place = match &arguments.socket {
        Some(socket) => AgentPlace::Socket(socket.clone()),
        None => AgentPlace::Address(arguments.address),
    };
    let path = match arguments.check {
        Some(StatusCheck::Alive) => "/healthz",
        Some(StatusCheck::Ready) => "/readyz",
        None => "/status",
    };
    let body = timeout(TIMEOUT, get(&place, path)).await;
    let body =
        body.unwrap_or_else(|_elapsed| Err(StatusError::Timeout { place: place.clone() }))?;
    if arguments.check.is_some() {
        return Ok(exit::FINE);
    }
    let status: Status = serde_json::from_slice(&body)?;
    print(&status, arguments.output)?;
    Ok(if status.is_clean() { exit::FINE } else { exit::FINDINGS })
}

async fn get(place: &AgentPlace, path: &'static str) -> Result<Bytes, StatusError> {
    let failed = |source| StatusError::Connect { place: place.clone(), source };
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
async fn exchange<S>(stream: S, path: &'static str) -> Result<Bytes, StatusError>
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
            Limited::new(body, MAX_RESPONSE).collect().await.map_err(StatusError::Read)?.to_bytes();
        if head.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(StatusError::Refused { status: head.status, text });
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

impl AgentPlace {
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

fn print(status: &Status, format: TableFormat) -> Result<(), StatusError> {
    use io::Write as _;
    let text = match format {
        TableFormat::Json => serde_json::to_string_pretty(status)? + "\n",
        TableFormat::Table => table(status),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

fn table(status: &Status) -> String {
    let style = terminal::style();
    let mut parts = vec![format!(
        "Node {}: {}",
        status.node,
        status.not_ready.as_ref().map_or_else(
            || "the agent is ready".to_owned(),
            |why| format!("the agent is not ready: {why}")
        )
    )];
    if !status.pods.is_empty() {
        let header = ["POD", "INTERFACE", "STATE", "INGRESS", "EGRESS"].map(Cell::new).to_vec();
        parts.push(grid(header, status.pods.iter().map(pod).collect(), style));
    }
    if !status.policies.is_empty() {
        let header = ["POLICY", "KIND", "STATE", "PODS"].map(Cell::new).to_vec();
        parts.push(grid(header, status.policies.iter().map(policy).collect(), style));
    }
    let pods = status.pods.iter().filter_map(|pod| {
        Some(format!("pod {}/{}: {}", pod.namespace, pod.name, pod.reason.as_ref()?))
    });
    let policies = status.policies.iter().flat_map(|policy| {
        let notes = policy.reasons.iter().chain(&policy.notes);
        notes.map(|reason| format!("{} {}: {reason}", policy.kind, title(policy)))
    });
    let unknown = status.unknown_interfaces.iter();
    let unknown = unknown.map(|name| format!("interface {name} belongs to no known pod"));
    let others = status.other_enforcers.iter();
    let others = others.map(|name| format!("another policy enforcer runs on this node: {name}"));
    let notes: Vec<String> = pods.chain(policies).chain(unknown).chain(others).collect();
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    parts.join("\n\n") + "\n"
}

fn pod(pod: &Pod) -> Vec<Cell> {
    let (state, colour) = match pod.state {
        PodState::Enforced => ("enforced", Color::Green),
        PodState::NotEnforced => ("not enforced", Color::Red),
        PodState::WithoutAddress => ("no address yet", Color::Yellow),
    };
    let policies = |policies: &Option<Vec<String>>| {
        policies.as_ref().map_or_else(|| "-".to_owned(), |policies| policies.join(","))
    };
    vec![
        Cell::new(format!("{}/{}", pod.namespace, pod.name)),
        Cell::new(pod.interface.as_deref().unwrap_or("-")),
        Cell::new(state).fg(colour),
        Cell::new(policies(&pod.ingress)),
        Cell::new(policies(&pod.egress)),
    ]
}

fn policy(policy: &Policy) -> Vec<Cell> {
    let (state, colour) = match policy.state {
        PolicyState::Enforced => ("enforced", Color::Green),
        PolicyState::Closed => ("closed in part", Color::Yellow),
        PolicyState::NotEnforced => ("not enforced", Color::Red),
        PolicyState::HeldBack => ("held back", Color::Red),
    };
    vec![
        Cell::new(title(policy)),
        Cell::new(&policy.kind),
        Cell::new(state).fg(colour),
        Cell::new(policy.pods),
    ]
}

fn title(policy: &Policy) -> String {
    match &policy.namespace {
        Some(namespace) => format!("{namespace}/{}", policy.name),
        None => policy.name.clone(),
    }
}
