//! The answer to `GET /status`: what is enforced on a node, pod by pod and policy by policy.
//!
//! [`select()`] leaves the objects that a command line names, and those that belong to them.

mod select;

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

pub use select::{SelectedKind, select, title};

/// The answer to `/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `metadata.name` of the Node.
    pub node: String,
    /// Why the agent is not ready, as in `/readyz`; `null` where it is ready.
    pub not_ready: Option<String>,
    /// Why enforcement is off, so that every packet passes; `null` where it is on.
    #[serde(default)]
    pub off: Option<String>,
    /// Whether `policy-agent off` has switched it off.
    #[serde(default)]
    pub off_by_command: bool,
    /// Pods of the node that can have an interface, by name.
    pub pods: Vec<Pod>,
    /// Policies that select a pod of the node, and those of held-back namespaces, by name.
    pub policies: Vec<Policy>,
    /// Interfaces that lead to no known pod, by name.
    pub unknown_interfaces: Vec<String>,
    /// Other programs that enforce policies on the node.
    pub other_enforcers: Vec<String>,
}

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Its addresses; empty before it has any.
    pub addresses: Vec<IpAddr>,
    /// Host side of its veth pair; `null` where none was found.
    pub interface: Option<String>,
    /// Whether its policies are enforced.
    pub state: PodState,
    /// Why they are not; `null` where they are.
    pub reason: Option<String>,
    /// Policies that isolate it for ingress, as `NAMESPACE/NAME`, or `NAME` where they are
    /// cluster-wide; `null` where none does.
    pub ingress: Option<Vec<String>>,
    /// The same for egress.
    pub egress: Option<Vec<String>>,
}

/// Whether policies are enforced at a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// They are enforced.
    Enforced,
    /// They are not.
    NotEnforced,
    /// The pod has no network yet, or its addresses are not known.
    WithoutAddress,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    pub kind: String,
    /// `metadata.namespace`; `None`, in JSON the empty text, where it is cluster-wide.
    #[serde(with = "none_is_empty")]
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
    /// Whether it is enforced.
    pub state: PolicyState,
    /// Pods of the node that it selects.
    pub pods: usize,
    /// Why it is not enforced as it is written: its faults, and pods at which it is not enforced.
    pub reasons: Vec<String>,
    /// What is enforced as it is written and probably not what is meant: named ports that no pod has.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whether a policy is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// It is enforced at every pod of the node that it selects.
    Enforced,
    /// A part of it cannot be enforced as it is written, and allows less.
    Closed,
    /// It is not enforced at a pod of the node that it selects.
    NotEnforced,
    /// The policies of its namespace do not fit into the maps; the previous ones are enforced.
    HeldBack,
}

/// As tables show it.
impl fmt::Display for PodState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforced => "enforced",
            Self::NotEnforced => "not enforced",
            Self::WithoutAddress => "no address yet",
        })
    }
}

/// As tables show it.
impl fmt::Display for PolicyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforced => "enforced",
            Self::Closed => "closed in part",
            Self::NotEnforced => "not enforced",
            Self::HeldBack => "held back",
        })
    }
}

impl Status {
    /// Whether everything is enforced as it is written.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.not_ready.is_none()
            && self.off.is_none()
            && self.pods.iter().all(|pod| pod.state != PodState::NotEnforced)
            && self.policies.iter().all(|policy| policy.state == PolicyState::Enforced)
    }
}

/// An absent text as the empty text, which the JSON of a cluster-wide policy has.
mod none_is_empty {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        text: &Option<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().unwrap_or_default().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<String>, D::Error> {
        Ok(Some(String::deserialize(from)?).filter(|text| !text.is_empty()))
    }
}
