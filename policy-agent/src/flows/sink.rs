//! The writer of the flow log, on a thread of its own: a slow reader must not delay enforcement.
//!
//! Lines wait in a bounded queue; a line that finds the queue full is counted and not written.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
};
use thiserror::Error;

/// Lines that wait for the reader; further lines are not written.
const QUEUE: usize = 4096;

/// Where the flow log is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FlowLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// Why the flow log cannot be opened.
#[derive(Debug, Error)]
pub enum FlowLogError {
    /// The file.
    #[error("cannot open the flow log {}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A FIFO that no process has open for reading.
    #[error("no process reads the flow log {}: it is a FIFO; start its reader first", path.display())]
    NoReader {
        /// Its path.
        path: PathBuf,
    },
    /// The thread that writes.
    #[error("cannot start the thread that writes the flow log")]
    Thread(#[source] io::Error),
}

/// A queue of lines, and how many lines did not fit into it.
#[derive(Debug)]
pub(super) struct Sink {
    lines: SyncSender<String>,
    lost: u64,
}

impl Sink {
    /// Opens the target; `None` for [`FlowLogTarget::Off`].
    pub(super) fn open(target: &FlowLogTarget) -> Result<Option<Self>, FlowLogError> {
        let end: Box<dyn Write + Send> = match target {
            FlowLogTarget::Off => return Ok(None),
            FlowLogTarget::Stdout => Box::new(io::stdout()),
            FlowLogTarget::File(path) => Box::new(open(path)?),
        };
        let (lines, queue) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("flow-log".to_owned())
            .spawn(move || drain(&queue, end))
            .map_err(FlowLogError::Thread)?;
        Ok(Some(Self { lines, lost: 0 }))
    }

    /// Queues a line if the queue is not full.
    pub(super) fn write(&mut self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) if self.lost > 0 => {
                tracing::warn!(
                    lines = self.lost,
                    "the reader of the flow log was too slow: lines were not written; lower \
                     --max-drop-records, or read faster"
                );
                self.lost = 0;
            }
            Ok(()) => {}
            // The thread has ended if its reader has.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }
}

/// Opens a file without blocking: a FIFO without a reader would block the daemon.
fn open(path: &Path) -> Result<File, FlowLogError> {
    let failed = |source| FlowLogError::Open { path: path.to_owned(), source };
    let mut options = File::options();
    options.append(true).create(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path).map_err(|source| {
        let is_fifo = path.metadata().is_ok_and(|found| found.file_type().is_fifo());
        if is_fifo && source.raw_os_error() == Some(Errno::ENXIO as i32) {
            FlowLogError::NoReader { path: path.to_owned() }
        } else {
            failed(source)
        }
    })?;
    // The thread that writes does wait for a slow reader.
    let blocking =
        |flags| fcntl(&file, FcntlArg::F_SETFL(OFlag::from_bits_retain(flags) - OFlag::O_NONBLOCK));
    fcntl(&file, FcntlArg::F_GETFL).and_then(blocking).map_err(|errno| failed(errno.into()))?;
    Ok(file)
}

fn drain(queue: &Receiver<String>, mut end: impl Write) {
    for line in queue {
        let written = writeln!(end, "{line}").and_then(|()| end.flush());
        if let Err(error) = written {
            tracing::error!(
                "cannot write the flow log; the agent writes no more lines until it is restarted: {error}"
            );
            return;
        }
    }
}
