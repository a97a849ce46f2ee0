//! The socket that the chained plugin asks at whether a pod is under its policies.
//!
//! Only root may ask: the socket is root's alone, and so must be whoever connects.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use nix::fcntl::Flock;
use policy_cni::wire::{self, Answer, LINE, Request};
use policy_core::model::ObjectName;
use thiserror::Error;
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

use super::{POD_INTERFACE, Sandbox, claim::Claim, one_of_each_family};

/// Time in which a question must arrive, and an answer must be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time that anybody waits for an answer.
const LONGEST: Duration = Duration::from_mins(2);
/// Connections at a time; more wait in the socket's queue.
const CROWD: usize = 512;
/// Questions that wait for the daemon.
const QUEUE: usize = 64;
/// Wait after a connection could not be accepted, for want of descriptors for example.
const BREATH: Duration = Duration::from_millis(100);

/// Why nobody can ask.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The folder, or what stands where the socket should be.
    #[error("cannot make room for a socket at {path}")]
    Room {
        /// Path of the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent.
    #[error(
        "another agent has {path}: there is one for each node, as two pin folders would be enforced \
         side by side; end it, or give --cni-socket another folder"
    )]
    Taken {
        /// Path of the socket.
        path: PathBuf,
    },
    /// The socket.
    #[error("cannot listen at {path}")]
    Listen {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What the plugin asks of the daemon.
#[derive(Debug)]
pub enum Question {
    /// Whether pods are spoken for: `Err` says what is missing.
    Ready(oneshot::Sender<Result<(), String>>),
    /// A pod that waits for its policies.
    Pod(Waiter),
}

/// A pod that waits for its policies.
#[derive(Debug)]
pub struct Waiter {
    /// The pod.
    pub sandbox: Sandbox,
    /// Whether the pod is about to start; else somebody only asks how it stands.
    pub is_add: bool,
    /// Where to say how it stands; closed once nobody waits any more.
    pub state: watch::Sender<State>,
}

/// How it stands with a pod that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something is missing.
    Waits(&'static str),
    /// It is under its policies.
    Enforced,
}

/// Listens at a place, instead of whoever did before, for as long as the receiver lives.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// Where the socket cannot be made.
pub fn serve(claim: Claim) -> Result<Receiver<Question>, SocketError> {
    let (path, folder) = claim.into_parts();
    let room = |source| SocketError::Room { path: path.clone(), source };
    match fs::symlink_metadata(&path) {
        // The agent before this one left it; nobody answers there, for the place is claimed.
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path).map_err(room)?,
        Ok(_) => return Err(room(io::ErrorKind::AlreadyExists.into())),
        Err(_) => {}
    }
    let listen = |source| SocketError::Listen { path: path.clone(), source };
    let listener = UnixListener::bind(&path).map_err(listen)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(listen)?;
    let (questions, inbox) = mpsc::channel(QUEUE);
    tokio::spawn(accept(listener, questions, folder));
    Ok(inbox)
}

async fn accept(listener: UnixListener, questions: Sender<Question>, _claim: Flock<File>) {
    let crowd = Arc::new(Semaphore::new(CROWD));
    while !questions.is_closed() {
        let Ok(place) = Arc::clone(&crowd).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &questions).await {
                        tracing::warn!(%error, "the plugin's question is not answered");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of the plugin is not accepted");
                sleep(BREATH).await;
            }
        }
    }
}

/// Reads one question and answers it.
async fn converse(mut stream: UnixStream, questions: &Sender<Question>) -> io::Result<()> {
    let asker = stream.peer_cred()?.uid();
    if asker != 0 {
        tracing::warn!(uid = asker, "who is not root may not ask");
        return Ok(());
    }
    let mut line = String::new();
    timeout(PATIENCE, BufReader::new((&mut stream).take(LINE)).read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Status) => ready(questions).await,
        Ok(Request::Enforce(sandbox)) => enforced(sandbox, questions).await,
        Err(error) => {
            Answer::Refused { why: format!("the question cannot be understood: {error}") }
        }
    };
    let said = serde_json::to_string(&answer)? + "\n";
    timeout(PATIENCE, stream.write_all(said.as_bytes())).await?
}

/// Says whether pods are spoken for by now.
async fn ready(questions: &Sender<Question>) -> Answer {
    let (sender, answer) = oneshot::channel();
    let asked = async {
        questions.send(Question::Ready(sender)).await.ok()?;
        answer.await.ok()
    };
    match timeout(PATIENCE, asked).await {
        Ok(Some(Ok(()))) => Answer::Enforced,
        Ok(Some(Err(why))) => Answer::Refused { why },
        Ok(None) => ends(),
        Err(_) => Answer::Refused { why: "the agent is busy".to_owned() },
    }
}

fn ends() -> Answer {
    Answer::Refused { why: "the agent ends".to_owned() }
}

/// Waits until a pod is under its policies, or patience ends.
async fn enforced(asked: wire::Sandbox, questions: &Sender<Question>) -> Answer {
    // Policies are about the pod's own network. What another gives it is neither waited for, since
    // it never comes under them, nor taken for the pod's address.
    if asked.interface != POD_INTERFACE {
        return Answer::Enforced;
    }
    let patience = Duration::from_millis(asked.patience).min(LONGEST);
    if asked.addresses.is_empty() {
        return Answer::Refused { why: "prevResult has no address of the pod".to_owned() };
    }
    let sandbox = Sandbox {
        pod: ObjectName { namespace: asked.namespace, name: asked.name },
        uid: asked.uid,
        addresses: one_of_each_family(asked.addresses),
        host_interfaces: asked.host_interfaces,
    };
    let (sender, mut state) = watch::channel(State::Waits("the agent has not looked yet"));
    let waited = async {
        // An agent that ends answers nobody.
        let waiter = Waiter { sandbox, is_add: !patience.is_zero(), state: sender };
        questions.send(Question::Pod(waiter)).await.ok()?;
        if patience.is_zero() {
            // How it stands now is the answer.
            return state.changed().await.ok();
        }
        state.wait_for(|state| *state == State::Enforced).await.ok().map(drop)
    };
    let limit = if patience.is_zero() { PATIENCE } else { patience };
    let ended = timeout(limit, waited).await;
    if let Ok(None) = ended {
        return ends();
    }
    match *state.borrow() {
        State::Enforced => Answer::Enforced,
        State::Waits(why) => Answer::Refused { why: why.to_owned() },
    }
}
