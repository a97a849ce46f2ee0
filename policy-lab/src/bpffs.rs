//! File systems for pins that live no longer than this process.
//!
//! Each is mounted nowhere: a file descriptor holds it, as one holds a namespace.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Why there is no bpffs.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a bpffs")]
pub struct Error(#[source] io::Error);

/// A bpffs; what is pinned there goes away with this value.
#[derive(Debug)]
pub struct Bpffs(OwnedFd);

impl Bpffs {
    /// Makes an empty one.
    ///
    /// # Errors
    ///
    /// Without the privilege, or on a kernel before 5.2.
    pub fn create() -> Result<Self, Error> {
        let create = || {
            let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(&context)?;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        };
        create().map(Self).map_err(|errno| Error(errno.into()))
    }

    /// A path of its root, good while this value lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}
