//! What an operator decides for the whole node.

use std::net::IpAddr;

use crate::model::{DenyReply, Namespace};

/// What the operator has decided for a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct IntentOptions {
    /// Whether pods may send to the addresses of their own node without a rule (S38).
    pub own_node_egress: bool,
    /// Sources of kubelet's probes that no interface has: a service mesh rewrites them (S37).
    pub probe_sources: Vec<IpAddr>,
    /// Whether the annotation [`ANTI_SPOOFING`](crate::model::ANTI_SPOOFING) of namespaces counts (S46).
    pub spoofing_annotation: bool,
    /// What pods get back if policies deny a connection that they open (S59).
    pub deny_reply: DenyReply,
    /// Whether the annotation [`DENY_REPLY`](crate::model::DENY_REPLY) of namespaces counts (S57, S59).
    pub deny_reply_annotation: bool,
    /// Whether the annotation [`ENFORCEMENT`](crate::model::ENFORCEMENT) of the Node counts.
    pub enforcement_annotation: bool,
}

impl IntentOptions {
    /// Leaves of a namespace's annotations only what the operator has released to tenants (S57).
    pub(super) fn release(&self, namespace: &mut Namespace) {
        namespace.may_spoof &= self.spoofing_annotation;
        namespace.deny_reply = namespace.deny_reply.filter(|_| self.deny_reply_annotation);
    }
}
