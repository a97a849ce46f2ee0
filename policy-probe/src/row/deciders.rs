//! The policies that decided about a probe.

use std::{borrow::Cow, ops::Deref, sync::Arc};

use policy_core::{
    explain::{Deciding, kind},
    model::ObjectName,
};
use policy_manifest::Verdict;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Policies that decided, or took part in it; rows that the same ones decided share their memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deciders(Arc<[Deciding]>);

/// One of them in the form that programs read.
#[derive(Serialize, Deserialize)]
struct Decider<'a> {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    kind: Cow<'a, str>,
    /// `metadata.namespace`.
    namespace: Cow<'a, str>,
    /// `metadata.name`.
    name: Cow<'a, str>,
    /// Index in `ingress` or `egress`; `None` (`null`) on a default deny.
    rule: Option<usize>,
}

impl From<Arc<[Deciding]>> for Deciders {
    fn from(all: Arc<[Deciding]>) -> Self {
        Self(all)
    }
}

impl Deref for Deciders {
    type Target = [Deciding];

    fn deref(&self) -> &[Deciding] {
        &self.0
    }
}

impl Serialize for Deciders {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(|by| Decider {
            kind: by.kind.into(),
            namespace: by.policy.namespace.as_str().into(),
            name: by.policy.name.as_str().into(),
            rule: by.rule,
        }))
    }
}

impl<'de> Deserialize<'de> for Deciders {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Vec::<Decider<'_>>::deserialize(from)?.into_iter().map(|by| {
            let policy = ObjectName::new(by.namespace, by.name);
            Deciding { kind: kind(&policy), policy, rule: by.rule }
        });
        Ok(Self(all.collect()))
    }
}

/// The part of a policy in a verdict, in words.
pub(super) fn in_words(by: &Deciding, verdict: Verdict) -> String {
    let Deciding { kind, policy, rule } = by;
    let kind = if *kind == "NetworkPolicy" { String::new() } else { format!("{kind} ") };
    match (rule, verdict) {
        (Some(rule), _) => format!("{kind}{policy} rule {rule}"),
        (None, Verdict::Deny) => format!("no rule of {kind}{policy}"),
        (None, Verdict::Allow) => format!("{kind}{policy}"),
    }
}
