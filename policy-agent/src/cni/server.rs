//! The socket where the chained plugin waits until a pod's policies are in force.
//!
//! Each connection carries one request of `policy_cni::protocol`. The server forwards it to the daemon
//! as a [`PluginRequest`] with a channel for the outcome, waits, and writes the response. Only root may
//! connect: the socket belongs to root, and the peer's credentials are checked too.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    sync::Arc,
    time::Duration,
};

use nix::fcntl::Flock;
use policy_cni::protocol::{MAX_LINE, PodSandbox, Request, Response};
use policy_core::{
    intent::{Obstacle, Readiness, Sandbox},
    model::ObjectName,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{
        Semaphore,
        mpsc::{self, Receiver, Sender},
        oneshot, watch,
    },
    time::{sleep, timeout},
};

use super::{
    POD_INTERFACE, one_of_each_family,
    socket_lock::{SocketError, SocketLock},
};

/// Time in which a request must arrive, and a response must be read.
const IO_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a pod waits for its policies.
const MAX_WAIT: Duration = Duration::from_mins(2);
/// Connections served at a time; more wait in the socket's queue.
const MAX_CONNECTIONS: usize = 512;
/// Requests that wait for the daemon.
const QUEUE: usize = 64;
/// Pause after a connection could not be accepted, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request of the plugin, for the daemon.
#[derive(Debug)]
pub enum PluginRequest {
    /// Whether the agent handles pods; `Err` says what is missing.
    Status(oneshot::Sender<Result<(), String>>),
    /// A pod that waits for its policies.
    Pod(PendingPod),
}

/// A pod that waits for its policies.
#[derive(Debug)]
pub struct PendingPod {
    /// Its sandbox.
    pub sandbox: Sandbox,
    /// Whether the pod is about to start (ADD); else the runtime only checks it.
    pub is_add: bool,
    /// Where to report its readiness; closed when the plugin waits no longer.
    pub readiness: watch::Sender<Readiness>,
}

/// Serves the socket for as long as the receiver lives.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// [`SocketError::Prepare`], [`SocketError::Listen`].
pub fn serve(lock: SocketLock) -> Result<Receiver<PluginRequest>, SocketError> {
    let (path, folder) = lock.into_parts();
    let prepare = |source| SocketError::Prepare { path: path.clone(), source };
    match fs::symlink_metadata(&path) {
        // Left by an earlier agent: the lock says that no process serves it.
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path).map_err(prepare)?,
        Ok(_) => return Err(prepare(io::ErrorKind::AlreadyExists.into())),
        Err(_) => {}
    }
    let listen = |source| SocketError::Listen { path: path.clone(), source };
    let listener = UnixListener::bind(&path).map_err(listen)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(listen)?;
    let (requests, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(accept(listener, requests, folder));
    Ok(receiver)
}

async fn accept(listener: UnixListener, requests: Sender<PluginRequest>, _lock: Flock<File>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while !requests.is_closed() {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                tokio::spawn(async move {
                    if let Err(error) = handle(stream, &requests).await {
                        tracing::warn!(%error, "cannot answer a request of the CNI plugin; the container runtime tries again");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of the CNI plugin; retrying");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reads one request and writes the response.
async fn handle(mut stream: UnixStream, requests: &Sender<PluginRequest>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 {
        tracing::warn!(
            uid,
            "only root may connect to the CNI socket: connection refused; find the process of that user"
        );
        return Ok(());
    }
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(MAX_LINE));
    timeout(IO_TIMEOUT, reader.read_line(&mut line)).await??;
    let response = match serde_json::from_str(&line) {
        Ok(Request::Status) => status(requests).await,
        Ok(Request::Enforce(sandbox)) => enforce(sandbox, requests).await,
        Err(error) => refused(format!("cannot decode the request: {error}")),
    };
    let text = serde_json::to_string(&response)? + "\n";
    timeout(IO_TIMEOUT, stream.write_all(text.as_bytes())).await?
}

/// Whether the agent handles pods now.
async fn status(requests: &Sender<PluginRequest>) -> Response {
    let (sender, outcome) = oneshot::channel();
    let status = async {
        requests.send(PluginRequest::Status(sender)).await.ok()?;
        outcome.await.ok()
    };
    match timeout(IO_TIMEOUT, status).await {
        Ok(Some(Ok(()))) => Response::Enforced,
        Ok(Some(Err(reason))) => refused(reason),
        Ok(None) => refused("the agent is stopping"),
        Err(_elapsed) => refused("the agent is busy"),
    }
}

/// Waits until a pod's policies are in force, or until the plugin waits no longer.
async fn enforce(request: PodSandbox, requests: &Sender<PluginRequest>) -> Response {
    // Policies apply to the pod's own interface. That of an additional network never becomes an
    // endpoint, and its addresses are not the pod's.
    if request.interface != POD_INTERFACE {
        return Response::Enforced;
    }
    if request.addresses.is_empty() {
        return refused("prevResult has no address of the pod");
    }
    let wait = Duration::from_millis(request.timeout_ms).min(MAX_WAIT);
    let sandbox = Sandbox {
        pod: ObjectName { namespace: request.namespace, name: request.name },
        uid: request.uid,
        addresses: one_of_each_family(request.addresses),
        host_interfaces: request.host_interfaces,
    };
    let (sender, mut readiness) = watch::channel(Readiness::Waiting(Obstacle::NotChecked));
    let waiting = async {
        let is_add = !wait.is_zero();
        let pending = PendingPod { sandbox, is_add, readiness: sender };
        requests.send(PluginRequest::Pod(pending)).await.ok()?;
        if wait.is_zero() {
            // The first report is the response.
            return readiness.changed().await.ok();
        }
        readiness.wait_for(|readiness| *readiness == Readiness::Enforced).await.ok().map(drop)
    };
    let limit = if wait.is_zero() { IO_TIMEOUT } else { wait };
    if let Ok(None) = timeout(limit, waiting).await {
        return refused("the agent is stopping");
    }
    match *readiness.borrow() {
        Readiness::Enforced => Response::Enforced,
        Readiness::Waiting(obstacle) => refused(obstacle.to_string()),
    }
}

fn refused(reason: impl Into<String>) -> Response {
    Response::Refused { reason: reason.into() }
}
