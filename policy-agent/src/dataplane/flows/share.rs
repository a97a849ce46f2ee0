//! How many flows each pod may have, and the memory that this takes.
//!
//! Input is the size of the node; output the capacities of a pod's own tables. Example: 16 GiB, 4
//! CPUs and 110 pods, both address families.
//!
//! ```text
//! memory for all pods     16 GiB / 50                    328 MiB
//! memory for one          / 110                          3.0 MiB
//! set aside by the CPUs   4 × 128 entries in each table  0.3 MiB
//! the rest                / 500 bytes of a flow          5376 flows with a reply, 1344 without
//! ```

use std::{fs, ops::RangeInclusive};

use nix::sys::sysinfo::sysinfo;

use crate::dataplane::{options::entries as count, typed::InnerMap};

/// Least and most flows with a reply that a pod may have, per address family.
pub const POD_FLOWS: RangeInclusive<u32> = 256..=1 << 20;

/// What is chosen without an option lies between these.
const CHOSEN: [u32; 2] = [2048, 1 << 16];

/// Free entries that a CPU may keep for itself (`LOCAL_FREE_TARGET` in `kernel/bpf/bpf_lru_list.c`):
/// the kernel evicts flows while other CPUs still have this many free entries.
const FREE_PER_CPU: u32 = 128;

/// Flows with a reply for each flow without one.
const REPLIED_PER_NEW: u32 = 4;

/// The part of the node's memory, and of the agent's limit, that all flow tables of pods may take.
const PART_OF_NODE: u64 = 50;
const PART_OF_LIMIT: u64 = 2;

/// What the sizes are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeSize {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Bytes that the agent may have: maps are charged to it from Linux 5.11.
    pub(super) limit: Option<u64>,
    /// CPUs that the node may have.
    pub(super) cpus: u32,
    /// Pods that the node may have.
    pub(super) pods: u32,
}

/// The size of the flow tables of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct FlowShare {
    /// Flows with a reply that it has room for, per family.
    pub(in crate::dataplane) flows: u32,
    /// Bytes that the tables of all pods may take.
    pub(in crate::dataplane) memory: u64,
    cpus: u32,
}

impl FlowShare {
    /// Sizes for this node; `chosen` flows where the operator says how many. What cannot be read
    /// counts as small.
    pub(in crate::dataplane) fn of_node(chosen: Option<u32>, pods: u32) -> Self {
        let cpus = aya::util::nr_cpus().map_or(1, count);
        Self::new(chosen, NodeSize { memory: memory().unwrap_or(0), limit: limit(), cpus, pods })
    }

    /// Sizes for a node of this size.
    pub(super) fn new(chosen: Option<u32>, size: NodeSize) -> Self {
        let NodeSize { memory, limit, cpus, pods } = size;
        let most = limit.map(|limit| limit / PART_OF_LIMIT);
        let within = |bytes: u64| most.map_or(bytes, |most| bytes.min(most));
        let (memory, pods) = (within(memory / PART_OF_NODE), u64::from(pods.max(1)));
        let unsized_share = Self { flows: 0, memory, cpus };
        let flows = chosen.unwrap_or_else(|| unsized_share.that_fit(memory / pods));
        let share = Self { flows, ..unsized_share };
        let wanted = share.bytes_of_pod() * pods;
        // What the operator asks for is not refused.
        let memory = if chosen.is_some() { wanted } else { memory.max(within(wanted)) };
        Self { memory, ..share }
    }

    /// Flows for which the tables of a pod take at most these bytes, within the bounds.
    fn that_fit(self, bytes: u64) -> u32 {
        let [least, most] = CHOSEN;
        let step = least / 8;
        // In steps, because a table of another size means that the next agent creates all tables
        // and copies every flow: a few bytes more or less of memory must not do that.
        let mut flows = least;
        while flows < most && (Self { flows: flows + step, ..self }).bytes_of_pod() <= bytes {
            flows += step;
        }
        flows
    }

    /// Flows without a reply that a pod has room for, per family.
    pub(in crate::dataplane) fn new_flows(self) -> u32 {
        self.flows / REPLIED_PER_NEW
    }

    /// Capacities of the two tables of one family: with a reply, without.
    pub(super) fn capacities(self) -> [u32; 2] {
        [self.flows, self.new_flows()].map(|flows| flows + FREE_PER_CPU * self.cpus)
    }

    /// Bytes of the tables of a pod with addresses of both families.
    pub(in crate::dataplane) fn bytes_of_pod(self) -> u64 {
        self.bytes_of(InnerMap::Flows4) + self.bytes_of(InnerMap::Flows6)
    }

    /// Bytes of the two tables of one family.
    pub(super) fn bytes_of(self, kind: InnerMap) -> u64 {
        self.capacities().into_iter().map(|capacity| bytes(kind, capacity)).sum()
    }
}

/// Bytes of an LRU hash, all of which the kernel allocates at once: elements and buckets
/// (`struct htab_elem` and `struct bucket` in `kernel/bpf/hashtab.c`).
pub(super) fn bytes(kind: InnerMap, capacity: u32) -> u64 {
    let (key, value) = kind.sizes();
    let element = 48 + key.next_multiple_of(8) + value.next_multiple_of(8);
    u64::from(capacity) * element as u64 + u64::from(capacity.next_power_of_two()) * 16
}

/// Bytes of the machine's memory (`totalram` of sysinfo(2)).
fn memory() -> Option<u64> {
    sysinfo().ok().map(|info| info.ram_total())
}

/// The agent's own memory limit, if its container has one (cgroup v2, then v1).
fn limit() -> Option<u64> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn s60_sizes_follow_the_node_within_bounds() {
        let of = |memory, cpus, pods| NodeSize { memory: memory * GIB, limit: None, cpus, pods };
        #[rustfmt::skip]
        let cases = [
            // claim                                   option       node              flows
            ("a small node has the least",             None,        of(2, 2, 110),    2048),
            ("more memory, more flows",                None,        of(16, 4, 110),   5376),
            ("fewer pods, more flows",                 None,        of(16, 4, 20),    32_256),
            ("a large node has the most",              None,        of(1024, 64, 110), 65_536),
            ("the operator may choose fewer",          Some(300),   of(16, 4, 110),   300),
            ("or more",                                Some(1 << 20), of(2, 2, 110),  1 << 20),
        ];
        for (claim, chosen, node, flows) in cases {
            assert_eq!(FlowShare::new(chosen, node).flows, flows, "{claim}");
        }
    }

    #[test]
    fn s60_every_cpu_may_set_entries_aside_and_the_flows_still_fit() {
        let node = NodeSize { memory: 16 * GIB, limit: None, cpus: 64, pods: 110 };
        let share = FlowShare::new(Some(1000), node);
        assert_eq!(share.capacities(), [1000 + 64 * 128, 250 + 64 * 128]);
    }

    #[test]
    fn s60_the_memory_limit_of_the_container_counts() {
        let limit = Some(GIB / 4);
        let node = NodeSize { memory: 256 * GIB, limit, cpus: 8, pods: 110 };
        let share = FlowShare::new(None, node);
        assert_eq!(share.memory, GIB / 8);
        assert_eq!(share.flows, 2048);
    }
}
