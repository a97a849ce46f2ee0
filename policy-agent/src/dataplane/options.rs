//! The choices made when the programs are loaded.

use std::{path::PathBuf, time::Duration};

use policy_common::limits;
use policy_core::model::PerDirection;

/// What happens at an interface that belongs to no known pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownEndpoints {
    /// Everything passes.
    #[default]
    Pass,
    /// Everything is dropped and counted.
    Drop,
}

/// The parts of enforcement that are active: all of them, except when the lab proves that it would
/// notice a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveParts {
    /// `to_pod` is attached for ingress, `from_pod` for egress.
    pub directions: PerDirection<bool>,
    /// IPv6 is judged.
    pub ipv6: bool,
    /// A pod may send only from its own addresses (S46); the planner sets the endpoints' flags.
    pub anti_spoofing: bool,
}

impl Default for ActiveParts {
    fn default() -> Self {
        Self { directions: PerDirection::from_fn(|_| true), ipv6: true, anti_spoofing: true }
    }
}

/// Capacities of the maps that are sized at load, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Addresses of pods that match a peer of some policy.
    pub addresses: u32,
    /// Blocks that policies mention.
    pub blocks: u32,
    /// Frontends of Services.
    pub frontends: u32,
    /// Flows with a reply of pods without tables of their own, per family; at least 1024 per CPU.
    pub flows: u32,
    /// Flows without a reply yet of such pods, per family; at least 1024 per CPU.
    pub new_flows: u32,
    /// Flows with a reply of one pod, per family; `None` for as many as the node's memory allows.
    pub pod_flows: Option<u32>,
    /// Pods that the node may have; the memory for flow tables is divided by it.
    pub pods: u32,
    /// Slots for pods; a pod without one is closed.
    pub slots: u32,
}

/// How many pods a node may have, unless kubelet is configured otherwise (`maxPods`).
const PODS: u32 = 110;

impl Default for Capacities {
    fn default() -> Self {
        Self {
            addresses: entries(limits::ADDRESSES),
            blocks: entries(limits::BLOCKS),
            frontends: entries(limits::FRONTENDS),
            flows: entries(limits::FLOWS),
            new_flows: entries(limits::NEW_FLOWS),
            pod_flows: None,
            pods: PODS,
            slots: entries(limits::ENDPOINTS),
        }
    }
}

/// The options of a dataplane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The eBPF object, in place of the one that is built into this binary.
    pub object: Option<PathBuf>,
    /// The active parts.
    pub parts: ActiveParts,
    /// What happens at interfaces without a known pod.
    pub unknown_endpoints: UnknownEndpoints,
    /// Sizes of the maps.
    pub capacities: Capacities,
    /// Time after which an interface that dropped a burst may have one more drop record; zero for a
    /// record of every drop.
    pub record_interval: Duration,
    /// Use filters of a clsact qdisc even if the kernel has TCX links.
    pub clsact: bool,
}

/// A limit as the kernel's `u32`.
pub(super) const fn entries(limit: usize) -> u32 {
    assert!(limit <= u32::MAX as usize, "a limit must fit into 32 bits");
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    {
        limit as u32
    }
}
