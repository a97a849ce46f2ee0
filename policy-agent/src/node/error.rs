//! Why a node does not enforce what it should.

use policy_core::plan::Step;
use thiserror::Error;

use crate::{
    dataplane::{DataplaneError, StepText},
    net::NetError,
};

/// Why a node does not enforce what it should. What was written before stays in force.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The node's network cannot be read.
    #[error("cannot discover the interfaces of the node")]
    Discover(#[from] NetError),
    /// The programs cannot be loaded.
    #[error("cannot load the dataplane")]
    Load(#[source] Box<DataplaneError>),
    /// A step failed; none of the later ones was tried.
    #[error("cannot {}", StepText(step))]
    Step {
        /// The step.
        step: Box<Step>,
        /// Why it failed.
        #[source]
        source: Box<DataplaneError>,
    },
    /// The same for allow maps, which are created together.
    #[error("cannot create {count} allow maps")]
    AllowMaps {
        /// How many.
        count: usize,
        /// Why it failed, with the map that the kernel refused.
        #[source]
        source: Box<DataplaneError>,
    },
    /// Flows of addresses that belong to another pod now still exist.
    #[error("cannot delete the flows of addresses that belong to another pod now")]
    Forget(#[source] Box<DataplaneError>),
    /// The maps that decide about tunnel packets are not up to date.
    #[error("cannot write the addresses of pods or the ports of tunnels")]
    Tunnels(#[source] Box<DataplaneError>),
    /// Flow tables of pods cannot be put at their places.
    #[error("cannot create the flow tables of the pods that are isolated")]
    FlowTables(#[source] Box<DataplaneError>),
    /// Interfaces still run the programs of an earlier agent.
    #[error("cannot replace the programs of an earlier agent")]
    Commit(#[source] Box<DataplaneError>),
    /// The kernel's state cannot be read back or repaired.
    #[error("cannot verify what the kernel holds")]
    Verify(#[source] Box<DataplaneError>),
    /// `--unknown-endpoints=drop` is not in force at every interface without a known pod.
    #[error("cannot write the verdict for interfaces that lead to no known pod")]
    Guard(#[source] Box<DataplaneError>),
}

impl NodeError {
    /// The cause, where it is that a map or the kernel's memory is full.
    pub(super) fn full(&self) -> Option<&DataplaneError> {
        let (Self::Step { source, .. } | Self::AllowMaps { source, .. }) = self else {
            return None;
        };
        source.is_out_of_capacity().then_some(&**source)
    }
}
