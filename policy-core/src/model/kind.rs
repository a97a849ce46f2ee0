//! Kinds of objects that the project reads.

use std::fmt;

/// A kind of the Kubernetes API, or of the lab. Ordered by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `policy.networking.k8s.io/v1beta1`, or its predecessor `v1alpha2`, which has the same fields;
    /// the whole cluster.
    ClusterNetworkPolicy,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `policy.lab/v1alpha1`: a machine outside of the cluster; only in manifests.
    Host,
    /// `core/v1`.
    Namespace,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
    /// `core/v1`.
    Node,
    /// `core/v1`.
    Pod,
    /// `core/v1`.
    Service,
}

impl Kind {
    /// Every one, by name.
    pub const ALL: [Self; 8] = [
        Self::ClusterNetworkPolicy,
        Self::EndpointSlice,
        Self::Host,
        Self::Namespace,
        Self::NetworkPolicy,
        Self::Node,
        Self::Pod,
        Self::Service,
    ];

    /// The value of `kind` in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::EndpointSlice => "EndpointSlice",
            Self::Host => "Host",
            Self::Namespace => "Namespace",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
        }
    }

    /// Every `apiVersion` that the project reads, the newest first (S55).
    #[must_use]
    pub const fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::ClusterNetworkPolicy => {
                &["policy.networking.k8s.io/v1beta1", "policy.networking.k8s.io/v1alpha2"]
            }
            Self::EndpointSlice => &["discovery.k8s.io/v1"],
            Self::Host => &["policy.lab/v1alpha1"],
            Self::NetworkPolicy => &["networking.k8s.io/v1"],
            Self::Namespace | Self::Node | Self::Pod | Self::Service => &["v1"],
        }
    }

    /// The newest `apiVersion` that the project reads.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        self.api_versions()[0]
    }

    /// The kind of this name; `None` for one that the project does not read.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is one of the two kinds of policies.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::ClusterNetworkPolicy | Self::NetworkPolicy)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
