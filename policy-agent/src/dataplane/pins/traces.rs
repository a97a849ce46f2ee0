//! Which interfaces have the programs of `policy-agent trace` at the moment: `traces/IFINDEX` is a folder
//! that the tracing process has locked. The kernel releases the lock however that process ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Pins, make, remove};
use crate::dataplane::error::DataplaneError;

/// The folder of the claims, below that of the pins.
pub(in crate::dataplane) const TRACES: &str = "traces";

/// An interface that this process traces, until this value is dropped.
#[derive(Debug)]
pub(in crate::dataplane) struct TraceClaim {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl TraceClaim {
    /// Claims an interface; `None` if another process traces it.
    pub(in crate::dataplane) fn new(
        root: &Path,
        ifindex: u32,
    ) -> Result<Option<Self>, DataplaneError> {
        let traces = root.join(TRACES);
        make(&traces)?;
        let folder = traces.join(ifindex.to_string());
        make(&folder)?;
        Ok(lock(&folder)?.map(|lock| Self { folder, _lock: lock }))
    }
}

impl Drop for TraceClaim {
    fn drop(&mut self) {
        // The next agent removes what is left.
        let _ = fs::remove_dir(&self.folder);
    }
}

impl Pins {
    /// Whether a process traces an interface. The folder of one that was killed is removed.
    pub(in crate::dataplane) fn is_traced(&self, ifindex: u32) -> Result<bool, DataplaneError> {
        let folder = self.root.join(TRACES).join(ifindex.to_string());
        if !folder.exists() {
            return Ok(false);
        }
        if lock(&folder)?.is_none() {
            return Ok(true);
        }
        remove(&folder)?;
        Ok(false)
    }
}

/// Locks a folder; `None` if another process holds the lock.
fn lock(folder: &Path) -> Result<Option<Flock<File>>, DataplaneError> {
    let open = File::open(folder).map_err(super::failed("open", folder))?;
    match Flock::lock(open, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(super::failed("lock", folder)(errno.into())),
    }
}
