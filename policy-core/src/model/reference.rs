//! References to objects of any kind.

use std::fmt;

use super::{ClusterPolicyName, Kind, ObjectName, OlderKind};

/// A policy of either kind. Cluster-wide ones sort first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyRef {
    /// A `ClusterNetworkPolicy`, or a policy of the older API that was converted into one.
    ClusterWide(ClusterPolicyName),
    /// A `NetworkPolicy`, by `metadata.namespace` and `metadata.name`.
    Namespaced(ObjectName),
}

impl PolicyRef {
    /// The policy of a kind; `None` where `kind` is not a policy, where the namespace is absent or
    /// empty although the kind has one, or present although it has none.
    #[must_use]
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Option<Self> {
        match (kind, namespace) {
            (Kind::ClusterNetworkPolicy, None) => Some(Self::ClusterWide(name.into())),
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

    /// The value of `kind` in its manifest, which may be one of the older API.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::ClusterWide(name) => name.kind_name(),
            Self::Namespaced(_) => Kind::NetworkPolicy.name(),
        }
    }

    /// The kind of the older API that it was converted from.
    #[must_use]
    pub fn older_kind(&self) -> Option<OlderKind> {
        match self {
            Self::ClusterWide(name) => name.older,
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
            Self::ClusterWide(name) => &name.name,
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
            Self::ClusterWide(name) => name.fmt(f),
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
    /// Only of a policy of the older API.
    older: Option<OlderKind>,
}

impl ObjectRef {
    /// An object of a namespace.
    #[must_use]
    pub fn namespaced(kind: Kind, name: &ObjectName) -> Self {
        let (namespace, name) = (Some(name.namespace.clone()), name.name.clone());
        Self { kind, namespace, name, older: None }
    }

    /// An object that is in no namespace.
    #[must_use]
    pub fn cluster_wide(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into(), older: None }
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
        if self.older.is_some() {
            let (older, name) = (self.older, self.name.clone());
            return Some(PolicyRef::ClusterWide(ClusterPolicyName { older, name }));
        }
        PolicyRef::new(self.kind, self.namespace(), &self.name)
    }

    /// The value of `kind` in its manifest, which may be one of the older API.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        self.older.map_or(self.kind.name(), OlderKind::name)
    }
}

impl From<PolicyRef> for ObjectRef {
    fn from(policy: PolicyRef) -> Self {
        let kind = policy.kind();
        match policy {
            PolicyRef::ClusterWide(ClusterPolicyName { older, name }) => {
                Self { kind, namespace: None, name, older }
            }
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
        let tier = PolicyRef::ClusterWide("tier".into());
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

    #[test]
    fn an_object_of_the_older_api_keeps_its_kind() {
        for older in OlderKind::ALL {
            let name = ClusterPolicyName { older: Some(older), name: "x".to_owned() };
            let policy = PolicyRef::ClusterWide(name);
            let object = ObjectRef::from(policy.clone());
            assert_eq!((object.kind_name(), object.policy()), (older.name(), Some(policy)));
        }
    }
}
