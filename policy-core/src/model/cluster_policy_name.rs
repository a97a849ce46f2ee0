//! Names of cluster-wide policies, of the current API and of the one before it.
//!
//! Manifests of the older API are converted into tiers of a `ClusterNetworkPolicy`. Messages and
//! patches still name the object that the cluster has, so its kind is a part of the name:
//!
//! ```text
//! ClusterNetworkPolicy vault      older: None                        name: vault
//! AdminNetworkPolicy vault        older: Some(AdminNetworkPolicy)    name: vault
//! ```

use std::fmt;

use super::{Kind, Tier};

/// A kind of `policy.networking.k8s.io/v1alpha1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OlderKind {
    /// The Admin tier.
    AdminNetworkPolicy,
    /// The Baseline tier.
    BaselineAdminNetworkPolicy,
}

/// `metadata.name` of a cluster-wide policy, and its kind where that is of the older API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterPolicyName {
    /// The kind of the older API that it was converted from; `None` for a `ClusterNetworkPolicy`.
    pub older: Option<OlderKind>,
    /// `metadata.name`.
    pub name: String,
}

impl OlderKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AdminNetworkPolicy, Self::BaselineAdminNetworkPolicy];

    /// The value of `kind` in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
        }
    }

    /// The kind of this name; `None` for any other.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The tier in which its policies are evaluated.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::AdminNetworkPolicy => Tier::Admin,
            Self::BaselineAdminNetworkPolicy => Tier::Baseline,
        }
    }
}

impl ClusterPolicyName {
    /// The value of `kind` in its manifest.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        self.older.map_or(Kind::ClusterNetworkPolicy.name(), OlderKind::name)
    }
}

/// The name of a `ClusterNetworkPolicy`.
impl From<String> for ClusterPolicyName {
    fn from(name: String) -> Self {
        Self { older: None, name }
    }
}

/// The name of a `ClusterNetworkPolicy`.
impl From<&str> for ClusterPolicyName {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// `metadata.name`, without the kind.
impl fmt::Display for ClusterPolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
