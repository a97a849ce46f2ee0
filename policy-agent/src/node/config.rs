//! What a node is started with.

use std::{path::PathBuf, time::Duration};

use policy_core::intent::IntentOptions;

use crate::dataplane::{ActiveParts, Capacities, Options, UnknownEndpoints};

/// What a node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `metadata.name` of the Node: its pods are the endpoints.
    pub node: String,
    /// What the operator has decided about enforcement.
    pub intent: IntentOptions,
    /// An eBPF object in place of the one in this binary.
    pub object: Option<PathBuf>,
    /// Which parts of the enforcement are switched on.
    pub parts: ActiveParts,
    /// What happens to packets at interfaces without a known pod.
    pub unknown_endpoints: UnknownEndpoints,
    /// Sizes of the maps.
    pub capacities: Capacities,
    /// Time after which an interface that has used up its burst may report one more dropped packet;
    /// zero reports every one.
    pub record_interval: Duration,
    /// Folder of a bpffs that keeps the programs and maps in force without the agent (S48); `None`
    /// where enforcement ends with the agent.
    pub pins: Option<PathBuf>,
    /// Attach by filters of a clsact qdisc even if the kernel has TCX links.
    pub clsact: bool,
}

impl NodeConfig {
    /// All parts switched on, unknown endpoints pass, maps of the usual size, a record of every drop.
    pub fn new(node: impl Into<String>) -> Self {
        let Options { object, parts, unknown_endpoints, capacities, record_interval, clsact } =
            Options::default();
        let (node, intent, pins) = (node.into(), IntentOptions::default(), None);
        Self {
            node,
            intent,
            object,
            parts,
            unknown_endpoints,
            capacities,
            record_interval,
            pins,
            clsact,
        }
    }

    /// The dataplane's part of it.
    pub(super) fn options(&self) -> Options {
        let Self {
            node: _,
            intent: _,
            object,
            parts,
            unknown_endpoints,
            capacities,
            record_interval,
            pins: _,
            clsact,
        } = self.clone();
        Options { object, parts, unknown_endpoints, capacities, record_interval, clsact }
    }
}
