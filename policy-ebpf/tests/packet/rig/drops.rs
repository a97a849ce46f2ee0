//! Dropped packets: their counters and records.

use aya::maps::{MapData, PerCpuHashMap, RingBuf};
use policy_common::drops::{Direction, DropKey, DropRecord, Reason};

use super::{IFINDEX, Rig, TC_ACT_SHOT};

impl Rig {
    /// Has the pod send a frame that is dropped; whether the drop was counted, and its record.
    pub(crate) fn dropped_as_sent(&mut self, frame: &[u8]) -> (u64, Option<DropRecord>) {
        self.drop("from_pod", Direction::Egress, frame)
    }

    /// As `dropped_as_sent`, of a frame to the pod that came over an interface of no pod.
    pub(crate) fn dropped_as_received(&mut self, frame: &[u8]) -> (u64, Option<DropRecord>) {
        self.drop("to_pod", Direction::Ingress, frame)
    }

    fn drop(&mut self, program: &str, way: Direction, frame: &[u8]) -> (u64, Option<DropRecord>) {
        let before: u64 = self.dropped(way).iter().sum();
        assert_eq!(self.act(program, frame, IFINDEX + 1), TC_ACT_SHOT);
        (self.dropped(way).iter().sum::<u64>() - before, self.record())
    }

    /// The record of the last drop, if there is one.
    pub(crate) fn record(&mut self) -> Option<DropRecord> {
        let mut ring: RingBuf<&mut MapData> =
            self.ebpf.map_mut("events").unwrap().try_into().unwrap();
        let item = ring.next()?;
        assert_eq!(item.len(), size_of::<DropRecord>());
        // SAFETY: the program wrote a `DropRecord`, of which every bit pattern is a value.
        Some(unsafe { item.as_ptr().cast::<DropRecord>().read_unaligned() })
    }

    /// Dropped packets by the number of their reason.
    pub(super) fn dropped(&self, direction: Direction) -> Vec<u64> {
        let map: PerCpuHashMap<&MapData, DropKey, u64> =
            self.ebpf.map("drops").unwrap().try_into().unwrap();
        let mut counts = vec![0; Reason::ALL.len() + 1];
        for reason in Reason::ALL {
            let key = DropKey {
                ifindex: IFINDEX,
                direction: direction as u8,
                reason: *reason as u8,
                pad: [0; 2],
            };
            if let Ok(values) = map.get(&key, 0) {
                counts[*reason as usize] = values.iter().sum();
            }
        }
        counts
    }
}
