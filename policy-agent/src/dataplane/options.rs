//! What is chosen when the classifiers are loaded.

use std::{path::PathBuf, time::Duration};

use policy_common::limits;

/// What happens at an interface whose pod is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownEndpoints {
    /// Everything passes.
    #[default]
    Pass,
    /// Nothing passes, and that is counted.
    Drop,
}

/// What of the enforcement is in place: all of it, except where the lab proves that it would
/// notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part of its own, on or off")]
pub struct Parts {
    /// The classifier of packets to the pod is attached.
    pub ingress: bool,
    /// The classifier of packets from the pod is attached.
    pub egress: bool,
    /// IPv6 is judged.
    pub ipv6: bool,
    /// A pod may send from its own addresses only (S46): the planner's part, which sets the flags
    /// of the endpoints.
    pub anti_spoofing: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self { ingress: true, egress: true, ipv6: true, anti_spoofing: true }
    }
}

/// Entries of the maps whose size is chosen at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Addresses of pods that some policy tells apart.
    pub addresses: u32,
    /// Blocks that policies mention.
    pub blocks: u32,
    /// Frontends of Services.
    pub frontends: u32,
    /// Flows that have seen a reply, per family; at least 1024 per CPU.
    pub flows: u32,
    /// Flows that wait for their first reply, per family; at least 1024 per CPU.
    pub new_flows: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            addresses: entries(limits::ADDRESSES),
            blocks: entries(limits::BLOCKS),
            frontends: entries(limits::FRONTENDS),
            flows: entries(limits::FLOWS),
            new_flows: entries(limits::NEW_FLOWS),
        }
    }
}

/// What a dataplane is loaded with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The eBPF object, in place of the one that is built into this binary.
    pub object: Option<PathBuf>,
    /// What is in place.
    pub parts: Parts,
    /// What happens at interfaces without a known pod.
    pub unknown_endpoints: UnknownEndpoints,
    /// Sizes of the maps.
    pub capacities: Capacities,
    /// Time in which an interface that dropped a burst may have one more drop record; zero where
    /// every drop has one.
    pub record_interval: Duration,
    /// Attach by filters of a clsact qdisc even where the kernel has TCX links.
    pub clsact: bool,
}

/// A limit as the kernel counts it.
pub(super) const fn entries(limit: usize) -> u32 {
    assert!(limit <= u32::MAX as usize, "a limit is more than the kernel can count");
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    {
        limit as u32
    }
}
