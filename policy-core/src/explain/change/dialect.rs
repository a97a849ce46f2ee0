//! Cluster-wide policies of the older API have other words for the same.
//!
//! ```text
//! v1alpha2   {action: Accept, from: […], protocols: [{tcp: {destinationPort: {number: 80}}}]}
//! v1alpha1   {action: Allow, from: […], ports: [{portNumber: {protocol: TCP, port: 80}}]}
//! ```

use crate::model::Action;

/// The version of the API that a cluster-wide policy is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy`.
    V1alpha1,
    /// `ClusterNetworkPolicy`.
    V1alpha2,
}

impl Dialect {
    /// The field of a rule with its ports.
    pub(super) const fn protocols_field(self) -> &'static str {
        match self {
            Self::V1alpha1 => "ports",
            Self::V1alpha2 => "protocols",
        }
    }

    /// The word for an action.
    pub(super) const fn action(self, action: Action) -> &'static str {
        match (self, action) {
            (Self::V1alpha1, Action::Accept) => "Allow",
            _ => action.name(),
        }
    }
}
