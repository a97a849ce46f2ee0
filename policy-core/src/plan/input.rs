//! What a plan needs beside the two states: the interfaces of the node, and options.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::DenyReply;

/// A host-side interface, as discovery found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index of the host side, in the node's network namespace.
    pub ifindex: u32,
    /// Its name, for messages.
    pub name: String,
    /// Interface index of the bridge it is a port of; 0 for none.
    pub bridge: u32,
    /// Addresses of its peer, in the pod; link-local ones left out.
    pub addresses: Vec<IpAddr>,
    /// Whether it passes nothing until its pod is known: then there are no connections to keep.
    pub guarded: bool,
}

/// Interfaces of the node, by index.
pub type Interfaces = BTreeMap<u32, Interface>;

/// Options of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Pods may send from any address (S46, opt-out).
    pub may_spoof: bool,
    /// What pods get back if policies deny a connection that they open (S59); their namespace may have
    /// another choice.
    pub deny_reply: DenyReply,
}
