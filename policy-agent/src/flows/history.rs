//! Dropped packets, added up by workload and kept for hours in bounded memory: what `GET /flows`
//! answers.
//!
//! Input: dropped packets, in any number. Packets with the same [`FlowKey`] are one flow with its counts.
//! Where the memory is used up, flows are forgotten and counted as lost: the oldest ones of the
//! workload with the most, so that a pod that scans addresses or ports hides no flow of another:
//!
//! ```text
//! limit 10 KB    Deployment shop/web 1 KB, Pod x/scanner 9 KB, and one more flow of x/scanner
//!                Deployment shop/web 1 KB, Pod x/scanner 7 KB: a quarter of its flows are lost
//! ```

mod counts;
mod key;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    mem::size_of,
    time::Duration,
};

use jiff::Timestamp;
use policy_report::flows::{FLOWS_VERSION, FlowReport, LostFlows};

use super::{end::FlowEnd, packet::DroppedPacket};

use counts::{FlowCounts, SeenPacket};
use key::FlowKey;

/// How long a flow is kept after its last packet.
const RETENTION: Duration = Duration::from_hours(24);
/// Bytes of a workload's name and its part of the map.
const SHARE_BYTES: usize = size_of::<Option<FlowEnd>>() + size_of::<Share>() + 128;
/// Workloads with less than this difference in bytes count as equal: the one that was quiet for longer
/// forgets its flows.
const SAME_SIZE: usize = 4096;

/// The flows of a node.
#[derive(Debug)]
pub struct FlowHistory {
    /// The most bytes that flows may use; 0 keeps none.
    limit: usize,
    /// When the first packet could be counted.
    started: Timestamp,
    /// By the end at this node; `None` for packets at interfaces of no known pod.
    shares: BTreeMap<Option<FlowEnd>, Share>,
    bytes: usize,
    lost: LostFlows,
}

/// The flows of one workload of the node.
#[derive(Debug)]
struct Share {
    bytes: usize,
    flows: BTreeMap<FlowKey, FlowCounts>,
}

impl FlowHistory {
    /// Starts without flows; `limit` is the most bytes that they may use.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (started, lost) = (Timestamp::now(), LostFlows::default());
        Self { limit, started, shares: BTreeMap::new(), bytes: 0, lost }
    }

    /// Adds a dropped packet.
    pub fn add(&mut self, packet: &DroppedPacket<'_>) {
        if self.limit > 0 {
            let local = packet.end(&packet.local);
            self.lost.packets += u64::from(packet.record.withheld);
            self.count(local, FlowKey::of(packet), SeenPacket::of(packet));
        }
    }

    /// The flows that had a packet since a time, or all.
    #[must_use]
    pub fn report(&self, node: &str, since: Option<Timestamp>) -> FlowReport {
        let time = Timestamp::now();
        let oldest = time.checked_sub(RETENTION).unwrap_or(Timestamp::MIN);
        let since = since.map_or(oldest, |since| since.max(oldest));
        let shares = self.shares.iter();
        let flows = shares.flat_map(|(local, share)| {
            let recent = share.flows.iter().filter(|(_, counts)| counts.last >= since);
            recent.map(move |(key, counts)| key.report(local.as_ref(), counts))
        });
        FlowReport {
            version: FLOWS_VERSION,
            node: node.to_owned(),
            time,
            started: self.started,
            lost: self.lost,
            flows: flows.collect(),
        }
    }

    /// Bytes that the flows use, as they are estimated for the limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was lost so far.
    #[must_use]
    pub fn lost(&self) -> LostFlows {
        self.lost
    }

    fn count(&mut self, local: Option<FlowEnd>, key: FlowKey, packet: SeenPacket<'_>) {
        let share = self.shares.entry(local).or_insert_with(|| {
            self.bytes += SHARE_BYTES;
            Share { bytes: SHARE_BYTES, flows: BTreeMap::new() }
        });
        let added = if let Some(counts) = share.flows.get_mut(&key) {
            counts.add(packet)
        } else {
            let counts = FlowCounts::new(packet);
            let bytes = key.bytes() + counts.bytes();
            share.flows.insert(key, counts);
            bytes
        };
        share.bytes += added;
        self.bytes += added;
        if self.bytes > self.limit {
            self.forget();
        }
    }

    /// Forgets flows until an eighth of the memory is free, so that it need not do so at each packet.
    fn forget(&mut self) {
        let wanted = self.limit - self.limit / 8;
        let mut shares: Vec<&mut Share> = self.shares.values_mut().collect();
        let order = |share: &Share| (share.bytes / SAME_SIZE, Reverse(share.last()));
        let numbered = shares.iter().enumerate();
        let mut largest: BinaryHeap<_> =
            numbered.map(|(number, share)| (order(share), number)).collect();
        while self.bytes > wanted
            && let Some((_, number)) = largest.pop()
        {
            let (flows, bytes) = shares[number].forget_oldest();
            self.bytes -= bytes;
            self.lost.flows += flows;
            if shares[number].flows.is_empty() {
                self.bytes -= SHARE_BYTES;
            } else {
                largest.push((order(shares[number]), number));
            }
        }
        self.shares.retain(|_, share| !share.flows.is_empty());
    }
}

impl Share {
    /// Time of its last packet.
    fn last(&self) -> Option<Timestamp> {
        self.flows.values().map(|counts| counts.last).max()
    }

    /// Forgets the oldest quarter; how many flows and bytes they were.
    fn forget_oldest(&mut self) -> (u64, usize) {
        let mut times: Vec<Timestamp> = self.flows.values().map(|counts| counts.last).collect();
        times.sort_unstable();
        let Some(&newest) = times.get(times.len().saturating_sub(1) / 4) else { return (0, 0) };
        let old = self.flows.extract_if(.., |_, counts| counts.last <= newest);
        let sizes = old.map(|(key, counts)| key.bytes() + counts.bytes());
        let (flows, bytes) = sizes.fold((0, 0), |(flows, sum), bytes| (flows + 1, sum + bytes));
        self.bytes -= bytes;
        (flows, bytes)
    }
}

#[cfg(test)]
mod tests;
