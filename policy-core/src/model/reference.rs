//! References to objects of any kind.

use std::fmt;

use super::{Kind, ObjectName};

/// A policy of either kind. Cluster-wide ones sort first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyRef {
    /// A `ClusterNetworkPolicy`, by `metadata.name`.
    ClusterWide(String),
    /// A `NetworkPolicy`, by `metadata.namespace` and `metadata.name`.
    Namespaced(ObjectName),
}

impl PolicyRef {
    /// The policy of a kind; `None` where `kind` is not a policy, where the namespace is absent or
    /// empty although the kind has one, or present although it has none.
    #[must_use]
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Option<Self> {
        match (kind, namespace) {
            (Kind::ClusterNetworkPolicy, None) => Some(Self::ClusterWide(name.to_owned())),
            (Kind::NetworkPolicy, Some(namespace)) if !namespace.is_empty() => {
                Some(Self::Namespaced(ObjectName::new(namespace, name)))
            }
            _ => None,
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ClusterWide(_) => Kind::ClusterNetworkPolicy,
            Self::Namespaced(_) => Kind::NetworkPolicy,
        }
    }

    /// Kind and `metadata.name` of the object that the policy was converted from, if it was: an
    /// `AdminNetworkPolicy` or `BaselineAdminNetworkPolicy`, which has its kind in front of its name
    /// here (no `ClusterNetworkPolicy` can have such a name).
    #[must_use]
    pub fn converted_from(&self) -> Option<(&str, &str)> {
        match self {
            Self::ClusterWide(name) => name.split_once('/'),
            Self::Namespaced(_) => None,
        }
    }

    /// `metadata.namespace`; `None` for a cluster-wide policy.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::ClusterWide(_) => None,
            Self::Namespaced(name) => Some(&name.namespace),
        }
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::ClusterWide(name) => name,
            Self::Namespaced(name) => &name.name,
        }
    }
}

impl From<ObjectName> for PolicyRef {
    fn from(name: ObjectName) -> Self {
        Self::Namespaced(name)
    }
}

/// `namespace/name`, or `name` for a cluster-wide policy.
impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterWide(name) => f.write_str(name),
            Self::Namespaced(name) => name.fmt(f),
        }
    }
}

/// An object of any kind. Ordered by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    kind: Kind,
    namespace: Option<String>,
    name: String,
}

impl ObjectRef {
    /// An object of a namespace.
    #[must_use]
    pub fn namespaced(kind: Kind, name: &ObjectName) -> Self {
        Self { kind, namespace: Some(name.namespace.clone()), name: name.name.clone() }
    }

    /// An object that is in no namespace.
    #[must_use]
    pub fn cluster_wide(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// `metadata.namespace`; `None` where the kind has none.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same reference, if the object is a policy.
    #[must_use]
    pub fn policy(&self) -> Option<PolicyRef> {
        PolicyRef::new(self.kind, self.namespace(), &self.name)
    }
}

impl From<PolicyRef> for ObjectRef {
    fn from(policy: PolicyRef) -> Self {
        let kind = policy.kind();
        match policy {
            PolicyRef::ClusterWide(name) => Self::cluster_wide(kind, name),
            PolicyRef::Namespaced(name) => Self::namespaced(kind, &name),
        }
    }
}

/// `namespace/name`, or `name` where the kind has no namespace; without the kind.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_a_namespace_exactly_where_its_kind_has_one() {
        let web = PolicyRef::Namespaced(ObjectName::new("shop", "web"));
        let tier = PolicyRef::ClusterWide("tier".to_owned());
        #[rustfmt::skip]
        let cases = [
            ("with its namespace",          Kind::NetworkPolicy,        Some("shop"), "web",  Some(web)),
            ("without a namespace",         Kind::NetworkPolicy,        None,         "web",  None),
            ("with an empty namespace",     Kind::NetworkPolicy,        Some(""),     "web",  None),
            ("cluster-wide",                Kind::ClusterNetworkPolicy, None,         "tier", Some(tier)),
            ("cluster-wide in a namespace", Kind::ClusterNetworkPolicy, Some("shop"), "tier", None),
            ("not a policy",                Kind::Pod,                  Some("shop"), "web",  None),
        ];
        for (claim, kind, namespace, name, want) in cases {
            assert_eq!(PolicyRef::new(kind, namespace, name), want, "{claim}");
        }
    }
}
