//! inotify: when something changes in one folder or file.
//!
//! Input: a path. Output: wake-ups for its reader, which reads the folder of manifests, libcni's cache
//! or the CNI configuration. An event says only that the folder is to be read again, except for the
//! files that somebody has not finished writing ([`FolderWatch::unfinished`]):
//!
//! ```text
//! open("a.yaml", O_TRUNC)   -                       (no event)
//! write(...)                IN_MODIFY a.yaml        unfinished: a.yaml; nobody is woken
//! close()                   IN_CLOSE_WRITE a.yaml   unfinished: none; wakes the reader
//! ```

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent},
};
use tokio::io::{Interest, unix::AsyncFd};

/// The events of one folder or file, until it is moved or deleted.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    events: AsyncFd<FileEvents>,
    unfinished: BTreeSet<OsString>,
}

#[derive(Debug)]
struct FileEvents(Inotify);

impl AsRawFd for FileEvents {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl FolderWatch {
    /// Starts to watch.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let wanted = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        inotify.add_watch(path, wanted)?;
        // SAFETY: the events own their file descriptor, never exchange it, and close it only when
        // they are dropped, with the registration that owns them.
        let events =
            unsafe { AsyncFd::register_with_interest(FileEvents(inotify), Interest::READABLE) }?;
        Ok(Self { events, unfinished: BTreeSet::new() })
    }

    /// Files that somebody has written into and not closed, as of the last event that was read. The
    /// name is empty where the watched path is itself a file.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &OsStr> {
        self.unfinished.iter().map(OsString::as_os_str)
    }

    /// Waits for an event that wakes the reader. The error `NotFound` means that the folder was
    /// moved or deleted: open another watch.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => {
                    if apply(&mut self.unfinished, &events)? {
                        return Ok(());
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads the events that are there, without waiting; whether one of them wakes the reader.
    pub(crate) fn drain(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            match self.events.get_ref().0.read_events() {
                Ok(events) => any |= apply(&mut self.unfinished, &events)?,
                Err(Errno::EAGAIN) => return Ok(any),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Applies events to the unfinished files; whether one of them wakes the reader.
fn apply(unfinished: &mut BTreeSet<OsString>, events: &[InotifyEvent]) -> io::Result<bool> {
    const GONE: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
        .union(AddWatchFlags::IN_MOVE_SELF)
        .union(AddWatchFlags::IN_IGNORED);
    let mut any = false;
    for event in events {
        let name = event.name.clone().unwrap_or_default();
        if event.mask.intersects(GONE) {
            return Err(io::ErrorKind::NotFound.into());
        } else if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // Events were lost: any file may have changed or been closed.
            unfinished.clear();
            any = true;
        } else if event.mask == AddWatchFlags::IN_MODIFY {
            unfinished.insert(name);
        } else {
            unfinished.remove(&name);
            any = true;
        }
    }
    Ok(any)
}
