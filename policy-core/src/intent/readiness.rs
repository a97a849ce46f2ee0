//! Whether a pod that is about to start is under its policies, and what is missing if it is not.

use std::fmt;

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
