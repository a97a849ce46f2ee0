//! Namespaces.

use super::Labels;

/// The annotation of a Namespace with the value `disabled` that frees its pods from the check of source
/// addresses (S46). It has an effect only where the agent's operator enables it (S57).
pub const ANTI_SPOOFING: &str = "policy-agent.io/anti-spoofing";

/// The annotation of a Namespace with the name of a [`DenyReply`], which its pods then have in place of
/// the agent's (S59). It has an effect only where the agent's operator enables it (S57).
pub const DENY_REPLY: &str = "policy-agent.io/deny-reply";

/// What a pod gets back if policies deny a connection that it opens (S36, S59).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DenyReply {
    /// Nothing: the pod sees a timeout.
    #[default]
    Nothing,
    /// A TCP reset, or an ICMP error.
    Reject,
}

impl DenyReply {
    /// The choice with a name on the command line and in annotations.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::Nothing),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }
}

/// The annotation of a Namespace with the value `enabled` that puts its pods into Linkerd's mesh.
pub const INJECT_LINKERD: &str = "linkerd.io/inject";

/// A Namespace (`core/v1`): the fields that policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whether the annotation [`ANTI_SPOOFING`] is `disabled`.
    pub may_spoof: bool,
    /// What the annotation [`DENY_REPLY`] names; `None` without one, or with any other value.
    pub deny_reply: Option<DenyReply>,
    /// Whether the annotation [`INJECT_LINKERD`] is `enabled`; only the linter reads it.
    pub injects_linkerd: bool,
}

/// A namespace with labels and nothing else.
impl From<Labels> for Namespace {
    fn from(labels: Labels) -> Self {
        Self { labels, ..Self::default() }
    }
}
