//! The writer of the flow log, on a thread of its own: a slow reader must not delay enforcement.
//!
//! Lines wait in a queue that is bounded in bytes; a line that finds it full is counted and not written.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
};
use thiserror::Error;

/// Bytes of lines that wait for the reader; further lines are not written.
const QUEUE: usize = 4 << 20;

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
    lines: Sender<String>,
    /// Bytes of the lines in the queue.
    waiting: Arc<AtomicUsize>,
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
        let (lines, queue) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&waiting);
        thread::Builder::new()
            .name("flow-log".to_owned())
            .spawn(move || drain(&queue, &counter, end))
            .map_err(FlowLogError::Thread)?;
        Ok(Some(Self { lines, waiting, lost: 0 }))
    }

    /// Queues a line if the queue is not full.
    pub(super) fn write(&mut self, line: String) {
        let size = line.len();
        if self.waiting.load(Ordering::Relaxed) + size > QUEUE {
            self.lost += 1;
            return;
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        // The thread has ended if its reader has.
        if self.lines.send(line).is_err() {
            self.lost += 1;
        } else if self.lost > 0 {
            tracing::warn!(
                lines = self.lost,
                "the reader of the flow log was too slow: lines were not written; lower \
                 --max-drop-records, or read faster"
            );
            self.lost = 0;
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

fn drain(queue: &Receiver<String>, waiting: &AtomicUsize, mut end: impl Write) {
    for line in queue {
        waiting.fetch_sub(line.len(), Ordering::Relaxed);
        let written = writeln!(end, "{line}").and_then(|()| end.flush());
        if let Err(error) = written {
            tracing::error!(
                "cannot write the flow log; the agent writes no more lines until it is restarted: {error}"
            );
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s60_the_queue_has_so_many_bytes_and_lines_beyond_are_counted() {
        let (lines, queue) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut sink = Sink { lines, waiting: Arc::clone(&waiting), lost: 0 };
        for _ in 0..5000 {
            sink.write("x".repeat(1000));
        }
        let fit = QUEUE / 1000;
        assert_eq!(sink.lost, 5000 - fit as u64);
        drop(sink);
        drain(&queue, &waiting, io::sink());
        assert_eq!(waiting.load(Ordering::Relaxed), 0, "what is read makes space");
    }
}
