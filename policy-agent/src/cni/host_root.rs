//! The node's file system seen from a container that has it mounted: absolute links lead to where they
//! lead on the node.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
};

/// How many times a path is resolved when renames elsewhere make the kernel give up (`EAGAIN`).
const ATTEMPTS: usize = 16;

/// The root folder of a node.
#[derive(Debug)]
pub(super) struct HostRoot(File);

impl HostRoot {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Resolves a path of the node to one of this process, without links; `None` where it does not
    /// exist.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let mut found = Err(Errno::EAGAIN);
        for _ in 0..ATTEMPTS {
            found = openat2(&self.0, path, how);
            if !matches!(found, Err(Errno::EAGAIN)) {
                break;
            }
        }
        match found {
            Ok(found) => fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).map(Some),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}
