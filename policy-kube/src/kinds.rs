//! Kinds that policy depends on.

use std::fmt;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Resource};
use policy_core::{
    compile::Change,
    model::{ObjectName, Snapshot},
};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Namespace` (`core/v1`).
    Namespace,
    /// `Pod` (`core/v1`).
    Pod,
    /// `NetworkPolicy` (`networking.k8s.io/v1`).
    Policy,
    /// `ClusterNetworkPolicy` (`policy.networking.k8s.io/v1alpha2`), where the API server has it.
    ClusterPolicy,
    /// `Service` (`core/v1`).
    Service,
    /// `EndpointSlice` (`discovery.k8s.io/v1`).
    EndpointSlice,
    /// `Node` (`core/v1`).
    Node,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Namespace,
        Self::Pod,
        Self::Policy,
        Self::ClusterPolicy,
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
    ];

    /// Whether an API server need not have it.
    #[must_use]
    pub fn is_optional(self) -> bool {
        self == Self::ClusterPolicy
    }

    /// Of which objects the API server tells: a pod that has finished is none to any policy (S7), and
    /// counts as deleted when it leaves the selection.
    pub(super) const fn fields(self) -> Option<&'static str> {
        match self {
            Self::Pod => Some("status.phase!=Succeeded,status.phase!=Failed"),
            Self::Namespace
            | Self::Policy
            | Self::ClusterPolicy
            | Self::Service
            | Self::EndpointSlice
            | Self::Node => None,
        }
    }

    pub(super) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.names();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Where the API server has all of them.
    pub(super) fn path(self) -> String {
        DynamicObject::url_path(&self.resource(), None)
    }

    /// The plural, as RBAC and URLs have it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        self.names().3
    }

    /// Group, version, kind and plural.
    const fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Policy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::ClusterPolicy => (
                "policy.networking.k8s.io",
                "v1alpha2",
                "ClusterNetworkPolicy",
                "clusternetworkpolicies",
            ),
            Self::Service => ("", "v1", "Service", "services"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Node => ("", "v1", "Node", "nodes"),
        }
    }

    /// The change that an object of this name is gone.
    #[must_use]
    pub fn gone(self, name: ObjectName) -> Change {
        match self {
            Self::Namespace => Change::Namespace(name.name, None),
            Self::Pod => Change::Pod(name, None),
            Self::Policy => Change::Policy(name, None),
            Self::ClusterPolicy => Change::ClusterPolicy(name.name, None),
            Self::Service => Change::Service(name, None),
            Self::EndpointSlice => Change::EndpointSlice(name, None),
            Self::Node => Change::Node(name.name, None),
        }
    }

    /// Names of the objects of this kind that a snapshot has.
    #[must_use]
    pub fn names_in(self, snapshot: &Snapshot) -> Vec<ObjectName> {
        let of_cluster = |name: &String| ObjectName::new("", name.as_str());
        match self {
            Self::Namespace => snapshot.namespaces.keys().map(of_cluster).collect(),
            Self::Pod => snapshot.pods.keys().cloned().collect(),
            Self::Policy => snapshot.policies.keys().cloned().collect(),
            Self::ClusterPolicy => snapshot.cluster_policies.keys().map(of_cluster).collect(),
            Self::Service => snapshot.services.keys().cloned().collect(),
            Self::EndpointSlice => snapshot.endpoint_slices.keys().cloned().collect(),
            Self::Node => snapshot.nodes.keys().map(of_cluster).collect(),
        }
    }
}

/// The plural, as RBAC and URLs have it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural())
    }
}
