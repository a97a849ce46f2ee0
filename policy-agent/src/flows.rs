//! Dropped packets in the cluster's terms: the flow log, and the denied connections that Events
//! report.
//!
//! Input: the kernel's records of dropped packets. Each becomes a [`DroppedPacket`] that names both
//! ends and the policies that denied it. The flow log has one JSON object per packet, one a line
//! (`docs/flow-log.md`); [`ActiveDenials`] groups those that policies denied. The daemon calls both.
//! Nothing flows from here back into policy. A record that is not written, because a pod drops too
//! many packets or because the reader of the log is slow, is in the kernel's counters all the same.

mod active;
mod denied;
mod line;
mod packet;
mod sink;

use std::{io, path::PathBuf};

use thiserror::Error;

pub use active::{ActiveDenials, DenialWarning};
pub use denied::DeniedConnection;
pub use packet::DroppedPacket;

use line::Line;
use sink::Sink;

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
    pub fn open(target: &FlowLogTarget) -> Result<Self, FlowLogError> {
        Ok(Self { sink: Sink::open(target)? })
    }

    /// Writes the line of a packet.
    pub fn write(&mut self, packet: &DroppedPacket<'_>) {
        let Some(sink) = &mut self.sink else { return };
        match log_line(packet) {
            Ok(line) => sink.write(line),
            Err(error) => tracing::warn!("cannot write a dropped packet to the flow log: {error}"),
        }
    }
}

/// The line of the flow log for a packet, without the line break.
///
/// # Errors
///
/// None that is known: every field can be written as JSON.
pub fn log_line(packet: &DroppedPacket<'_>) -> serde_json::Result<String> {
    serde_json::to_string(&Line::of(packet))
}
