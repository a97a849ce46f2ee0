//! A bpffs without a mount point, for the pins of one agent.
//!
//! A file descriptor holds it, so the kernel removes it with everything pinned there when this
//! process ends, however it ends.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Why no bpffs could be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot create a bpffs")]
pub struct BpffsError(#[source] io::Error);

/// A detached bpffs; dropping it removes what is pinned there.
#[derive(Debug)]
pub struct Bpffs(OwnedFd);

impl Bpffs {
    /// Creates an empty bpffs.
    ///
    /// # Errors
    ///
    /// Without the privilege, or on a kernel before 5.2.
    pub fn create() -> Result<Self, BpffsError> {
        let create = || {
            let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(&context)?;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        };
        create().map(Self).map_err(|errno| BpffsError(errno.into()))
    }

    /// The path of its root folder, valid as long as this value lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}
