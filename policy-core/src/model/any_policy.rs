//! Policies of either kind.

use super::{
    Annotations, ClusterNetworkPolicy, ClusterPolicyName, NetworkPolicy, ObjectName, PolicyRef,
    Snapshot,
};

/// A policy of either kind, with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyPolicy<'a> {
    /// A `ClusterNetworkPolicy`.
    ClusterWide(&'a ClusterPolicyName, &'a ClusterNetworkPolicy),
    /// A `NetworkPolicy`.
    Namespaced(&'a ObjectName, &'a NetworkPolicy),
}

impl<'a> AnyPolicy<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> PolicyRef {
        match self {
            Self::ClusterWide(name, _) => PolicyRef::ClusterWide(name.clone()),
            Self::Namespaced(name, _) => PolicyRef::Namespaced(name.clone()),
        }
    }

    /// `metadata.annotations`.
    #[must_use]
    pub fn annotations(self) -> &'a Annotations {
        match self {
            Self::ClusterWide(_, policy) => &policy.annotations,
            Self::Namespaced(_, policy) => &policy.annotations,
        }
    }
}

impl Snapshot {
    /// A policy of either kind.
    #[must_use]
    pub fn policy(&self, name: &PolicyRef) -> Option<AnyPolicy<'_>> {
        match name {
            PolicyRef::ClusterWide(name) => {
                let (name, policy) = self.cluster_policies.get_key_value(name)?;
                Some(AnyPolicy::ClusterWide(name, policy))
            }
            PolicyRef::Namespaced(name) => {
                let (name, policy) = self.policies.get_key_value(name)?;
                Some(AnyPolicy::Namespaced(name, policy))
            }
        }
    }
}
