//! Whether a pod that is about to start is under its policies, and what is missing if it is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use policy_common::endpoint::{Endpoint, flags};

use super::{Intent, Sandbox, hints::is_sandbox_of};

/// Whether a pod's policies are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They are: its containers may start.
    Enforced,
    /// They are not yet.
    Waiting(Obstacle),
}

/// What is missing before a pod's policies are in force.
///
/// The text of each is what the runtime reports for a pod that does not start in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing was enforced since the runtime announced the pod.
    NotChecked,
    /// The cluster has no pod of this name.
    PodUnknown,
    /// The pod of this name has another UID, or has ended.
    OtherPod,
    /// The pod is scheduled on another node.
    OtherNode,
    /// The cluster has no such namespace, so its labels are unknown.
    NamespaceUnknown,
    /// No interface with the pod's addresses has an endpoint.
    NoInterface,
}

impl Intent {
    /// Whether the policies of a pod are in force, given the endpoints in the kernel.
    ///
    /// `host_interfaces` are the indices of the sandbox's interfaces on the node; empty where the
    /// runtime named none.
    #[must_use]
    pub fn readiness(
        &self,
        sandbox: &Sandbox,
        host_interfaces: &BTreeSet<u32>,
        endpoints: &BTreeMap<u32, Endpoint>,
    ) -> Readiness {
        let snapshot = self.compiler.snapshot();
        let Some(pod) = snapshot.pods.get(&sandbox.pod) else {
            return Readiness::Waiting(Obstacle::PodUnknown);
        };
        if !is_sandbox_of(sandbox, pod) {
            return Readiness::Waiting(Obstacle::OtherPod);
        }
        if pod.node.as_ref() != Some(&self.node) {
            return Readiness::Waiting(Obstacle::OtherNode);
        }
        if !snapshot.namespaces.contains_key(&sandbox.pod.namespace) {
            return Readiness::Waiting(Obstacle::NamespaceUnknown);
        }
        let is_its = |endpoint: &&Endpoint| {
            let is_here = host_interfaces.is_empty() || host_interfaces.contains(&endpoint.ifindex);
            let is_tracking = endpoint.flags & flags::TRACKING != 0 && self.off_cause().is_none();
            is_here && !is_tracking && sandbox.addresses.iter().all(|it| endpoint.has(*it))
        };
        match self.live(endpoints).find(is_its) {
            Some(_) => Readiness::Enforced,
            None => Readiness::Waiting(Obstacle::NoInterface),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotChecked => "the agent has not checked the pod yet",
            Self::PodUnknown => "the API server has not reported the pod yet",
            Self::OtherPod => "the API server reports another pod of this name",
            Self::OtherNode => "the API server reports the pod on another node",
            Self::NamespaceUnknown => "the API server has not reported the pod's namespace yet",
            Self::NoInterface => "no interface of the node leads to the pod",
        })
    }
}
