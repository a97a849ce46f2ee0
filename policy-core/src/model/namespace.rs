//! Namespaces.

use super::Labels;

/// The annotation of a Namespace with the value `disabled` that frees its pods from the check of source
/// addresses (S46). It has an effect only where the agent's operator enables it (S57).
pub const ANTI_SPOOFING: &str = "policy-agent.io/anti-spoofing";

/// A Namespace (`core/v1`): the fields that policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whether the annotation [`ANTI_SPOOFING`] is `disabled`.
    pub may_spoof: bool,
}

/// A namespace with labels and nothing else.
impl From<Labels> for Namespace {
    fn from(labels: Labels) -> Self {
        Self { labels, ..Self::default() }
    }
}
