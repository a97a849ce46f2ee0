//! The policies that decided about a probe.

use std::{borrow::Cow, ops::Deref, sync::Arc};

use policy_core::{
    explain::DecidingPolicy,
    model::{ClusterPolicyName, Kind, OlderKind, PolicyRef},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Policies that decided, or took part in it; rows that the same ones decided share their memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deciders(Arc<[DecidingPolicy]>);

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
            kind: by.policy.kind_name().into(),
            namespace: by.policy.namespace().unwrap_or_default().into(),
            name: by.policy.name().into(),
            rule: by.rule,
        }))
    }
}

impl<'de> Deserialize<'de> for Deciders {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Vec::<Decider<'_>>::deserialize(from)?.into_iter().map(|by| {
            let policy = match (Kind::from_name(&by.kind), OlderKind::from_name(&by.kind)) {
                (_, Some(older)) => {
                    let (older, name) = (Some(older), by.name.to_string());
                    Some(PolicyRef::ClusterWide(ClusterPolicyName { older, name }))
                }
                (Some(kind), None) => {
                    let namespace = Some(&*by.namespace).filter(|namespace| !namespace.is_empty());
                    PolicyRef::new(kind, namespace, &by.name)
                }
                (None, None) => None,
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
