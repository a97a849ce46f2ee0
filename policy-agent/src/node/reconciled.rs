//! The outcome of a reconciliation.

use std::{collections::BTreeSet, time::Duration};

use policy_common::endpoint::Endpoint;
use policy_core::{
    desired::Desired,
    fault::Fault,
    intent::{ClosedPod, HeldBack, LeftOutServices},
    model::ObjectName,
    plan::{Interface, InterfaceOwner},
};

use super::NodeError;
use crate::chain::chain;

/// What a reconciliation did, and what it could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// What the compiler could not express.
    pub faults: Vec<Fault>,
    /// Number of steps carried out.
    pub steps: usize,
    /// How long the kernel took to carry them out.
    pub write_time: Duration,
    /// Pods of this node with an address that leads to no interface: nothing is enforced at them.
    pub pods_without_interface: Vec<ObjectName>,
    /// Number of pods of this node without a known address.
    pub pods_without_address: usize,
    /// Interfaces of new pods that the programs could not be attached to: nothing is enforced at them.
    pub not_attached: Vec<NotAttached>,
    /// Veths into another namespace that belong to no known pod.
    pub interfaces_without_pod: Vec<Interface>,
    /// Namespaces with policies that do not fit into the kernel's maps.
    pub held_back: Vec<HeldBack>,
    /// Services that do not fit into the map `frontends`.
    pub left_out_services: Vec<LeftOutServices>,
    /// New pods that are closed because what they need does not fit.
    pub closed_pods: Vec<ClosedPod>,
    /// Interfaces with an address of a pod that has another one. Nothing passes there.
    pub conflicts: Vec<InterfaceConflict>,
}

/// An interface with an address of a pod that has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConflict {
    /// The name of the interface.
    pub interface: String,
    /// The pod.
    pub pod: ObjectName,
}

impl InterfaceConflict {
    /// `None` for an interface without a conflict.
    pub(super) fn of(interface: &Interface) -> Option<Self> {
        let InterfaceOwner::Conflict(pod) = &interface.owner else { return None };
        Some(Self { interface: interface.name.clone(), pod: pod.clone() })
    }
}

/// A new pod with an interface that the programs could not be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAttached {
    /// The pod.
    pub pod: ObjectName,
    /// Why, with the interface.
    pub reason: String,
}

impl Reconciled {
    /// Pods of this node that nothing is enforced at.
    pub(super) fn not_enforced(&self) -> BTreeSet<&ObjectName> {
        let not_attached = self.not_attached.iter().map(|refused| &refused.pod);
        let closed = self.closed_pods.iter().map(|closed| &closed.pod);
        self.pods_without_interface.iter().chain(not_attached).chain(closed).collect()
    }

    /// Moves the pods without an address from the list of those without an interface to the count.
    pub(super) fn count_pods_without_address(&mut self, desired: &Desired) {
        let all = self.pods_without_interface.len();
        self.pods_without_interface.retain(|pod| {
            let endpoint = desired.endpoints.get(pod);
            endpoint.is_some_and(|endpoint| !endpoint.addresses.is_empty())
        });
        self.pods_without_address = all - self.pods_without_interface.len();
    }
}

/// The pods of endpoints that could not be written.
pub(super) fn not_attached(
    refused: &[(Endpoint, NodeError)],
    desired: &Desired,
) -> Vec<NotAttached> {
    refused
        .iter()
        .filter_map(|(endpoint, error)| {
            let mut pods = desired.endpoints.iter();
            let is_its = |address: &_| endpoint.has(*address);
            let (pod, _) = pods.find(|(_, pod)| pod.addresses.iter().any(is_its))?;
            Some(NotAttached { pod: pod.clone(), reason: chain(error) })
        })
        .collect()
}
