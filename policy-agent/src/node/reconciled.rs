//! What a reconciliation came to.

use policy_common::endpoint::Endpoint;
use policy_core::{desired::Desired, fault::Fault, model::ObjectName, plan::Interface};

use super::{HeldBack, NodeError};
use crate::chain::chain;

/// What a reconciliation did and could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// What the compiler could not express.
    pub faults: Vec<Fault>,
    /// Steps that were carried out.
    pub steps: usize,
    /// Pods of this node with an address that leads to no interface: nothing is enforced at them.
    pub pods_without_interface: Vec<ObjectName>,
    /// Pods of this node without an address so far: they have no network yet, or it is not known.
    pub pods_without_address: usize,
    /// Interfaces of new pods that could not be attached to: nothing is enforced at them.
    pub not_attached: Vec<NotAttached>,
    /// Interfaces that lead out of the namespace, and to no known pod.
    pub interfaces_without_pod: Vec<Interface>,
    /// Namespaces whose policies find no room: those of before stay in force there.
    pub held_back: Vec<HeldBack>,
}

/// A new pod's interface that the classifiers could not be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAttached {
    /// The pod.
    pub pod: ObjectName,
    /// Why, with the interface.
    pub reason: String,
}

/// Whose the endpoints are that could not be put.
pub(super) fn not_attached(
    refused: &[(Endpoint, NodeError)],
    desired: &Desired,
) -> Vec<NotAttached> {
    refused
        .iter()
        .filter_map(|(endpoint, error)| {
            let pods = desired.endpoints.iter();
            let mut its = pods.filter(|(_, pod)| pod.addresses.iter().any(|it| endpoint.has(*it)));
            let (pod, _) = its.next()?;
            Some(NotAttached { pod: pod.clone(), reason: chain(error) })
        })
        .collect()
}
