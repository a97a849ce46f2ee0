//! inotify on one folder or file.

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

/// Events of one folder, until it goes.
#[derive(Debug)]
pub(crate) struct Watch {
    events: AsyncFd<Events>,
    /// Files that somebody wrote into and has not closed.
    written: BTreeSet<OsString>,
}

#[derive(Debug)]
struct Events(Inotify);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Begins to watch.
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
            unsafe { AsyncFd::register_with_interest(Events(inotify), Interest::READABLE) }?;
        Ok(Self { events, written: BTreeSet::new() })
    }

    /// Files, as far as it was waited for events, that somebody wrote into and has not closed yet;
    /// empty for the one file that is watched.
    pub(crate) fn written(&self) -> impl Iterator<Item = &OsStr> {
        self.written.iter().map(OsString::as_os_str)
    }

    /// Waits for an event, what is written into a file not before that file is closed; an error once
    /// the folder is no longer where it was.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => {
                    if note(&mut self.written, &events)? {
                        return Ok(());
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The same without waiting: whether there was an event.
    pub(crate) fn now(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            match self.events.get_ref().0.read_events() {
                Ok(events) => any |= note(&mut self.written, &events)?,
                Err(Errno::EAGAIN) => return Ok(any),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Whether there is something to tell; an error once the folder is no longer where it was.
fn note(written: &mut BTreeSet<OsString>, events: &[InotifyEvent]) -> io::Result<bool> {
    const GONE: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
        .union(AddWatchFlags::IN_MOVE_SELF)
        .union(AddWatchFlags::IN_IGNORED);
    let mut any = false;
    for event in events {
        let name = event.name.clone().unwrap_or_default();
        if event.mask.intersects(GONE) {
            return Err(io::ErrorKind::NotFound.into());
        } else if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // Whatever was not told: everything is to be looked at.
            written.clear();
            any = true;
        } else if event.mask == AddWatchFlags::IN_MODIFY {
            written.insert(name);
        } else {
            written.remove(&name);
            any = true;
        }
    }
    Ok(any)
}
