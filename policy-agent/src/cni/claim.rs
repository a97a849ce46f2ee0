//! The folder of the agent's socket, claimed: two agents never answer at one place, wherever each
//! of them pins.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

use super::socket::SocketError;

/// How long an agent that is about to end, as in a rolling update, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A place for a socket, which no other agent has for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    folder: Flock<File>,
}

impl Claim {
    /// Claims the folder of a socket, making it where it is not there.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be made, or another agent stays.
    pub async fn take(path: &Path) -> Result<Self, SocketError> {
        let room = |source| SocketError::Room { path: path.to_owned(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(room)?;
        let end = Instant::now() + PATIENCE;
        loop {
            let folder = File::open(parent).map_err(room)?;
            match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
                // Who answers has claimed nothing, and is an agent of another build at best.
                Ok(folder) if !is_answered(path).await => {
                    return Ok(Self { path: path.to_owned(), folder });
                }
                Ok(_) | Err(_) if Instant::now() >= end => {
                    return Err(SocketError::Taken { path: path.to_owned() });
                }
                Ok(_) | Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// Where the socket goes, and what keeps the place.
    pub(super) fn into_parts(self) -> (PathBuf, Flock<File>) {
        (self.path, self.folder)
    }
}

/// Whether somebody listens at a socket.
async fn is_answered(path: &Path) -> bool {
    match UnixStream::connect(path).await {
        Ok(_) => true,
        // More wait there than find room.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
