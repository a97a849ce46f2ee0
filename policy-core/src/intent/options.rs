//! What an operator decides for the whole node.

use std::net::IpAddr;

/// What the operator has decided for a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntentOptions {
    /// Whether pods may send to the addresses of their own node without a rule (S38).
    pub own_node_egress: bool,
    /// Sources of kubelet's probes that no interface has: a service mesh rewrites them (S37).
    pub probe_sources: Vec<IpAddr>,
    /// Whether the annotation [`ANTI_SPOOFING`](crate::model::ANTI_SPOOFING) of namespaces counts (S46).
    pub spoofing_annotation: bool,
}
