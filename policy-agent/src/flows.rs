//! Dropped packets in the cluster's terms: the flow log, and the denied connections that Events
//! report.
//!
//! Input: the kernel's records of dropped packets. Each becomes a [`DroppedPacket`] that names both
//! ends and the policies that denied it. The flow log has one JSON object per packet, one a line
//! (`docs/flow-log.md`); [`ActiveDenials`] groups those that policies denied; `FlowHistory` adds up all
//! of them by workload, for hours (`docs/flows.md`). The daemon calls them.
//! Nothing flows from here back into policy. A record that is not written, because a pod drops too
//! many packets or because the reader of the log is slow, is in the kernel's counters all the same.

mod active;
mod denied;
mod end;
#[cfg(feature = "daemon")]
mod history;
mod line;
mod packet;
mod sink;

pub use active::{ActiveDenials, DenialWarning};
pub use denied::DeniedConnection;
#[cfg(feature = "daemon")]
pub use history::FlowHistory;
pub use packet::DroppedPacket;
pub use sink::{FlowLogError, FlowLogTarget};

use line::Line;
use sink::Sink;

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

/// The most bytes of a line: whoever labels a pod or names policies must not fill the node's log.
const LONGEST_LINE: usize = 8192;

/// The line of the flow log for a packet, without the line break. One that would be too long has no labels
/// and annotations, and not all policies.
///
/// # Errors
///
/// None that is known: every field can be written as JSON.
pub fn log_line(packet: &DroppedPacket<'_>) -> serde_json::Result<String> {
    let line = serde_json::to_string(&Line::of(packet))?;
    if line.len() <= LONGEST_LINE {
        Ok(line)
    } else {
        serde_json::to_string(&Line::of(packet).shorten())
    }
}
