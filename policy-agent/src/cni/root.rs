//! A node's file system as it is seen from where it is mounted: an absolute link leads to what it
//! leads to on the node.

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

/// How often a look-up is tried again that the kernel gives up because of a rename elsewhere.
const TRIES: usize = 16;

/// The root folder of a node.
#[derive(Debug)]
pub(super) struct Root(File);

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Where a path of the node leads from here, without any link; `None` where nothing is there.
    pub(super) fn find(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let mut found = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
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
