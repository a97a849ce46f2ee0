//! The counts of one flow.

use std::{collections::BTreeSet, mem::size_of, net::IpAddr};

use jiff::Timestamp;
use policy_report::flows::PODS;

use crate::flows::{
    line,
    packet::{DroppedPacket, PacketEnd},
};

/// What a packet adds to its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenPacket<'a> {
    pub(super) time: Timestamp,
    pub(super) length: u32,
    pub(super) local: SeenEnd<'a>,
    pub(super) remote: SeenEnd<'a>,
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenEnd<'a> {
    pub(super) pod: Option<&'a str>,
    pub(super) address: Option<IpAddr>,
}

/// The counts of a flow.
#[derive(Clone, Debug)]
pub(super) struct FlowCounts {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) local: EndCounts,
    pub(super) remote: EndCounts,
}

/// What was seen of an end.
#[derive(Clone, Debug, Default)]
pub(super) struct EndCounts {
    /// The first pods.
    pub(super) pods: BTreeSet<String>,
    pub(super) more_pods: bool,
    /// The last address.
    pub(super) address: Option<IpAddr>,
}

impl<'a> SeenPacket<'a> {
    pub(super) fn of(packet: &'a DroppedPacket<'a>) -> Self {
        Self {
            time: line::wall_clock(packet.record.time),
            length: packet.record.length,
            local: SeenEnd::of(&packet.local),
            remote: SeenEnd::of(&packet.remote),
        }
    }
}

impl<'a> SeenEnd<'a> {
    fn of(end: &PacketEnd<'a>) -> Self {
        let pod = end.pod.map(|(name, pod)| pod.deleted.as_deref().unwrap_or(&name.name));
        Self { pod, address: end.address }
    }
}

impl FlowCounts {
    /// The counts after the first packet.
    pub(super) fn new(packet: SeenPacket<'_>) -> Self {
        let (first, last) = (packet.time, packet.time);
        let (local, remote) = (EndCounts::default(), EndCounts::default());
        let mut counts = Self { packets: 0, bytes: 0, first, last, local, remote };
        counts.add(packet);
        counts
    }

    /// Adds a packet; how many bytes of memory it takes.
    pub(super) fn add(&mut self, packet: SeenPacket<'_>) -> usize {
        self.packets += 1;
        self.bytes += u64::from(packet.length);
        // The clock of the node may be set back.
        self.first = self.first.min(packet.time);
        self.last = self.last.max(packet.time);
        self.local.add(packet.local) + self.remote.add(packet.remote)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let names = self.local.pods.iter().chain(&self.remote.pods);
        size_of::<Self>() + names.map(|name| name_bytes(name)).sum::<usize>()
    }
}

impl EndCounts {
    fn add(&mut self, end: SeenEnd<'_>) -> usize {
        self.address = end.address.or(self.address);
        let Some(pod) = end.pod.filter(|pod| !self.pods.contains(*pod)) else { return 0 };
        if self.pods.len() >= PODS {
            self.more_pods = true;
            return 0;
        }
        self.pods.insert(pod.to_owned());
        name_bytes(pod)
    }
}

/// Bytes of a name in a set, with its part of the set.
fn name_bytes(name: &str) -> usize {
    2 * size_of::<String>() + name.len()
}
