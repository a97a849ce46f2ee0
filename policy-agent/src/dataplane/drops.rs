//! Dropped packets: the ring buffer of records, and the counters.

use std::{
    collections::BTreeMap,
    fmt, io,
    os::fd::{AsRawFd, RawFd},
};

use aya::maps::{MapData, PerCpuHashMap, RingBuf};
use policy_common::drops::{DropKey, DropRecord};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use super::{error::DataplaneError, named::Named};

/// A failure to read drop records.
#[derive(Debug, Error)]
pub enum DropsError {
    /// The runtime cannot wait for the ring buffer.
    #[error("cannot wait for drop records")]
    Wait(#[source] io::Error),
    /// The programs were built for another layout.
    #[error("a drop record has {length} bytes, and should have {expected}")]
    Length {
        /// Bytes of the record.
        length: usize,
        /// Bytes that it should have.
        expected: usize,
    },
}

/// The records of dropped packets, in the order in which the kernel wrote them.
///
/// A record is lost if the ring buffer is full; the counters still count the packet. A reader that
/// outlives its dataplane waits forever.
#[derive(Debug)]
pub struct Drops {
    events: AsyncFd<Events>,
}

/// The counters of dropped packets, independent of the dataplane that they came from.
#[derive(Debug)]
pub struct DropCounters(pub(super) Named<PerCpuHashMap<MapData, DropKey, u64>>);

/// The ring buffer of the records.
pub(super) struct Events(RingBuf<MapData>);

impl Drops {
    pub(super) fn new(events: Events) -> io::Result<Self> {
        // SAFETY: the ring buffer owns its file descriptor, never exchanges it, and closes it only
        // when it is dropped, with the registration that owns it.
        let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }?;
        Ok(Self { events })
    }

    /// Waits for the next record. Cancelling loses none.
    ///
    /// # Errors
    ///
    /// [`DropsError::Length`] for this record only; the next call returns the one after it.
    pub async fn next(&mut self) -> Result<DropRecord, DropsError> {
        loop {
            if let Some(record) = self.try_next()? {
                return Ok(record);
            }
            // The kernel wakes the reader only for a record that finds the buffer empty, so the
            // readiness must be cleared before the buffer is read, never after.
            let mut ready = self.events.readable_mut().await.map_err(DropsError::Wait)?;
            ready.clear_ready();
        }
    }

    /// The next record if there is one already.
    ///
    /// # Errors
    ///
    /// [`DropsError::Length`] for this record only; the next call returns the one after it.
    pub fn try_next(&mut self) -> Result<Option<DropRecord>, DropsError> {
        self.events.get_mut().0.next().as_deref().map(record).transpose()
    }
}

impl DropCounters {
    /// Dropped packets by endpoint, direction and reason.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn read(&self) -> Result<BTreeMap<DropKey, u64>, DataplaneError> {
        counts(&self.0)
    }
}

impl From<RingBuf<MapData>> for Events {
    fn from(events: RingBuf<MapData>) -> Self {
        Self(events)
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("events")
    }
}

/// The counters, summed over all CPUs.
pub(super) fn counts(
    drops: &Named<PerCpuHashMap<MapData, DropKey, u64>>,
) -> Result<BTreeMap<DropKey, u64>, DataplaneError> {
    let entries = drops.entries()?;
    Ok(entries.into_iter().map(|(key, counts)| (key, counts.iter().sum())).collect())
}

fn record(bytes: &[u8]) -> Result<DropRecord, DropsError> {
    let (length, expected) = (bytes.len(), size_of::<DropRecord>());
    if length != expected {
        return Err(DropsError::Length { length, expected });
    }
    // SAFETY: `bytes` has as many initialised bytes as a record, every bit pattern is a record
    // (`aya::Pod`), and `read_unaligned` requires no alignment.
    Ok(unsafe { bytes.as_ptr().cast::<DropRecord>().read_unaligned() })
}
