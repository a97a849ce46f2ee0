//! The cluster as the compiler sees it: only what policy depends on, and only legal values.
//!
//! Manifests and API objects are converted into these types once, by `policy-manifest`. From there
//! on no code reads Kubernetes objects. A part of a policy that may be legal and that the reader does
//! not understand is represented as such (`ClusterPeer::Unknown`, a subject of `None`), so that the
//! compiler can close it and report a fault.

mod address;
mod any_policy;
mod cluster;
mod cluster_policy_name;
mod direction;
mod field;
mod kind;
mod labels;
mod name;
mod namespace;
mod node;
mod pod;
mod policy;
mod port;
mod reference;
mod selector;
mod service;
mod sorted;

use std::{borrow::Cow, collections::BTreeMap};

pub(crate) use address::address_after;
pub use any_policy::AnyPolicy;
pub use cluster::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterRule, PodSet, ProtocolMatch, Tier,
    UnknownPeer,
};
pub use cluster_policy_name::{ClusterPolicyName, OlderKind};
pub use direction::PerDirection;
pub use field::{FieldPath, Segment, peers_field, policy_type};
pub use kind::Kind;
pub use labels::Labels;
pub use name::ObjectName;
pub use namespace::{ANTI_SPOOFING, DENY_REPLY, DenyReply, INJECT_LINKERD, Namespace};
pub use node::{ENFORCEMENT, Node};
pub(crate) use pod::named_ports;
pub use pod::{ContainerPort, HostPort, Phase, Pod, Workload, is_usable};
pub use policy::{Annotations, IpBlock, NetworkPolicy, Peer, Port, PortSpec, Rule};
pub use policy_common::drops::Direction;
pub use port::{Family, Protocol};
pub use reference::{ObjectRef, PolicyRef};
pub use selector::{Operator, Requirement, Selector};
pub use service::{EndpointSlice, Service, ServicePort, SliceEndpoint, SlicePort, TopologyHints};
pub use sorted::Sorted;

/// The whole input of a compilation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Namespaces, by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Pods, by namespace and name.
    pub pods: BTreeMap<ObjectName, Pod>,
    /// `NetworkPolicies` (`networking.k8s.io/v1`).
    pub policies: BTreeMap<ObjectName, NetworkPolicy>,
    /// `ClusterNetworkPolicies` (`policy.networking.k8s.io`), by name.
    pub cluster_policies: BTreeMap<ClusterPolicyName, ClusterNetworkPolicy>,
    /// Services (`v1`).
    pub services: BTreeMap<ObjectName, Service>,
    /// `EndpointSlices` (`discovery.k8s.io/v1`).
    pub endpoint_slices: BTreeMap<ObjectName, EndpointSlice>,
    /// Nodes, by name.
    pub nodes: BTreeMap<String, Node>,
}

/// The label with the name of the namespace, which every namespace has (S9).
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

impl Snapshot {
    /// Labels of a namespace; `kubernetes.io/metadata.name` is always among them, as the API server
    /// adds it.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> Cow<'_, Labels> {
        match self.namespaces.get(namespace).map(|namespace| &namespace.labels) {
            Some(labels) if labels.get(NAMESPACE_NAME).is_some_and(|name| name == namespace) => {
                Cow::Borrowed(labels)
            }
            other => {
                let mut labels = other.cloned().unwrap_or_default();
                labels.insert(NAMESPACE_NAME.to_owned(), namespace.to_owned());
                Cow::Owned(labels)
            }
        }
    }

    /// The policies of a namespace.
    pub fn policies_of<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a NetworkPolicy)> {
        let from = self.policies.range(ObjectName::new(namespace, "")..);
        from.take_while(move |(name, _)| name.namespace == namespace)
    }
}
