//! The policies that decided about a probe.

use std::{borrow::Cow, ops::Deref, sync::Arc};

use policy_core::{
    explain::DecidingPolicy,
    model::{Kind, PolicyRef},
};
use policy_manifest::Verdict;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Policies that decided, or took part in it; rows that the same ones decided share their memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deciders(Arc<[DecidingPolicy]>);

/// Kinds of the older API that the reader of manifests converts.
const OLDER_KINDS: [&str; 2] = ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"];

/// One of them in the form that programs read.
#[derive(Serialize, Deserialize)]
struct Decider<'a> {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    kind: Cow<'a, str>,
    /// `metadata.namespace`; empty for a cluster-wide policy.
    namespace: Cow<'a, str>,
    /// `metadata.name`.
    name: Cow<'a, str>,
    /// Index in `ingress` or `egress`; `None` (`null`) on a default deny.
    rule: Option<usize>,
}

impl From<Arc<[DecidingPolicy]>> for Deciders {
    fn from(all: Arc<[DecidingPolicy]>) -> Self {
        Self(all)
    }
}

impl Deref for Deciders {
    type Target = [DecidingPolicy];

    fn deref(&self) -> &[DecidingPolicy] {
        &self.0
    }
}

impl Serialize for Deciders {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(|by| Decider {
            kind: kind_and_name(&by.policy).0.into(),
            namespace: by.policy.namespace().unwrap_or_default().into(),
            name: kind_and_name(&by.policy).1.into(),
            rule: by.rule,
        }))
    }
}

impl<'de> Deserialize<'de> for Deciders {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Vec::<Decider<'_>>::deserialize(from)?.into_iter().map(|by| {
            let kind = Kind::from_name(&by.kind);
            let namespace = Some(&*by.namespace).filter(|namespace| !namespace.is_empty());
            let policy = match kind {
                Some(kind) => PolicyRef::new(kind, namespace, &by.name),
                // Of the older API; the reader of manifests gives it this name.
                None if OLDER_KINDS.contains(&&*by.kind) => {
                    Some(PolicyRef::ClusterWide(format!("{}/{}", by.kind, by.name)))
                }
                None => None,
            };
            let unknown = || {
                let Decider { kind, namespace, name, .. } = &by;
                D::Error::custom(format!("{kind} {namespace}/{name} is not the name of a policy"))
            };
            Ok(DecidingPolicy { policy: policy.ok_or_else(unknown)?, rule: by.rule })
        });
        Ok(Self(all.collect::<Result<_, _>>()?))
    }
}

/// Kind and `metadata.name`, as the manifest of the policy has them.
fn kind_and_name(policy: &PolicyRef) -> (&str, &str) {
    policy.converted_from().unwrap_or((policy.kind().name(), policy.name()))
}

/// A deciding policy in words: `shop/web rule 0`, or `no rule of shop/web` on a default deny.
pub(super) fn describe(by: &DecidingPolicy, verdict: Verdict) -> String {
    let DecidingPolicy { policy, rule } = by;
    let policy = match policy {
        PolicyRef::Namespaced(name) => name.to_string(),
        PolicyRef::ClusterWide(_) => {
            let (kind, name) = kind_and_name(policy);
            format!("{kind} {name}")
        }
    };
    match (rule, verdict) {
        (Some(rule), _) => format!("{policy} rule {rule}"),
        (None, Verdict::Deny) => format!("no rule of {policy}"),
        (None, Verdict::Allow) => policy,
    }
}
