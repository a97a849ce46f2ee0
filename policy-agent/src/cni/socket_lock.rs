//! A lock on the folder of the agent's socket: two agents never serve the same socket, wherever each
//! of them pins.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;
use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

/// How long to wait for an agent that is ending, as in a rolling update.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Why the socket cannot be served.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The folder cannot be created or locked, or something other than a socket is at the path.
    #[error("cannot prepare the socket {path}")]
    Prepare {
        /// Path of the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent serves the socket.
    #[error(
        "another agent has {path}: only one agent may run on a node; stop the other one, or choose a \
         socket in another folder with --cni-socket"
    )]
    Taken {
        /// Path of the socket.
        path: PathBuf,
    },
    /// The kernel refuses the socket.
    #[error("cannot listen at {path}")]
    Listen {
        /// Path of the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The path of a socket, which no other agent can lock for as long as this lives.
#[derive(Debug)]
pub struct SocketLock {
    path: PathBuf,
    folder: Flock<File>,
}

impl SocketLock {
    /// Locks the folder of a socket, and creates it where it does not exist.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// [`SocketError::Prepare`], or [`SocketError::Taken`] where another agent does not end in time.
    pub async fn acquire(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Prepare { path: path.to_owned(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        let end = Instant::now() + TIMEOUT;
        loop {
            let folder = File::open(parent).map_err(failed)?;
            match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
                // An agent of a version without this lock serves the socket all the same.
                Ok(folder) if !is_served(path).await => {
                    return Ok(Self { path: path.to_owned(), folder });
                }
                Ok(_) | Err(_) if Instant::now() >= end => {
                    return Err(SocketError::Taken { path: path.to_owned() });
                }
                Ok(_) | Err(_) => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    /// The path, and the locked folder to be kept open.
    pub(super) fn into_parts(self) -> (PathBuf, Flock<File>) {
        (self.path, self.folder)
    }
}

/// Whether a process listens at a socket.
async fn is_served(path: &Path) -> bool {
    match UnixStream::connect(path).await {
        Ok(_) => true,
        // Its queue is full.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
