//! Changes of the cluster, and what they touch: the input of the stages.

use std::collections::BTreeSet;

use crate::model::{
    ClusterNetworkPolicy, ClusterPolicyName, EndpointSlice, Namespace, NetworkPolicy, Node,
    ObjectName, Pod, PolicyRef, Service,
};

/// A change of one object; without a value the object is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A namespace.
    Namespace(String, Option<Namespace>),
    /// A pod.
    Pod(ObjectName, Option<Pod>),
    /// A `NetworkPolicy`.
    Policy(ObjectName, Option<NetworkPolicy>),
    /// A `ClusterNetworkPolicy`.
    ClusterPolicy(ClusterPolicyName, Option<ClusterNetworkPolicy>),
    /// A Service.
    Service(ObjectName, Option<Service>),
    /// A slice of the endpoints of a Service.
    EndpointSlice(ObjectName, Option<EndpointSlice>),
    /// A node.
    Node(String, Option<Node>),
}

/// What a change touches, before any stage has run. A whole snapshot touches everything.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Pods of the scope that other policies may select, whether they are there or not.
    pub(crate) subjects: BTreeSet<ObjectName>,
    /// Policies to compile again; all pods that they select are among `subjects`.
    pub(crate) policies: BTreeSet<PolicyRef>,
    /// Whether the order of `ClusterNetworkPolicies` may be another.
    pub(crate) tiers: bool,
    /// Pods with other labels, ports or addresses.
    pub(crate) pods: TouchedPods,
    /// A namespace with other labels.
    pub(crate) namespace: Option<String>,
    /// Services that have other frontends or backends.
    pub(crate) services: BTreeSet<ObjectName>,
    /// Whether addresses or zones of nodes changed.
    pub(crate) nodes: bool,
}

/// Pods that a change touches.
#[derive(Debug, Default)]
pub(crate) enum TouchedPods {
    /// None.
    #[default]
    None,
    /// One, with its value before the change.
    One(ObjectName, Option<Box<Pod>>),
    /// All pods of the snapshot; none was there before.
    All,
}
