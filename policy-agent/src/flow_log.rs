//! The flow log: a JSON object a line for each dropped packet that the kernel recorded.
//!
//! Nothing flows from here back into policy. What is left out, for a noisy pod or for a reader that
//! is slow, is in the kernel's counters all the same.

mod attribution;
mod line;
mod sink;

use std::{io, path::PathBuf};

use policy_common::drops::DropRecord;
use thiserror::Error;

pub use attribution::{Attribution, Locals};

use sink::Sink;

/// Where the flow log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// Why there is no flow log.
#[derive(Debug, Error)]
pub enum FlowLogError {
    /// The file.
    #[error("cannot open the flow log {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A FIFO whose other end is closed.
    #[error("nobody reads the flow log {}: it is a FIFO; start its reader first", path.display())]
    NoReader {
        /// Which.
        path: PathBuf,
    },
    /// The thread that writes.
    #[error("cannot begin to write the flow log")]
    Thread(#[source] io::Error),
}

/// An open flow log.
#[derive(Debug)]
pub struct FlowLog {
    sink: Option<Sink>,
}

impl FlowLog {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`FlowLogError`].
    pub fn open(target: &Target) -> Result<Self, FlowLogError> {
        Ok(Self { sink: Sink::open(target)? })
    }

    /// Writes a record, told by what is known.
    pub fn write(&mut self, record: &DropRecord, attribution: &Attribution<'_>) {
        let Some(sink) = &mut self.sink else { return };
        let line = line::of(record, attribution);
        match serde_json::to_string(&line) {
            Ok(line) => sink.write(line),
            Err(error) => tracing::warn!("a drop record makes no line: {error}"),
        }
    }
}
