//! What a plan needs beside the two states: the interfaces of the node, and options.

use std::{collections::BTreeMap, net::IpAddr};

use policy_common::limits;

use crate::model::{DenyReply, ObjectName};

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
    /// Which pod it belongs to.
    pub owner: InterfaceOwner,
}

/// Which pod an interface belongs to. A pod that may change its network controls the addresses of its
/// interface, so these decide only where nothing else does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InterfaceOwner {
    /// The pod that has its addresses.
    #[default]
    ByAddress,
    /// This pod, whatever its addresses are.
    Pod(ObjectName),
    /// No pod: the one that had it is gone.
    Orphan,
    /// It has an address of a pod that has another interface. Nothing passes at it.
    Conflict(ObjectName),
}

/// Interfaces of the node, by index.
pub type Interfaces = BTreeMap<u32, Interface>;

/// Options of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Pods may send from any address (S46, opt-out).
    pub may_spoof: bool,
    /// What pods get back if policies deny a connection that they open (S59); their namespace may have
    /// another choice.
    pub deny_reply: DenyReply,
    /// How many slots there are; slot 0 is no endpoint's.
    pub slots: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { may_spoof: false, deny_reply: DenyReply::default(), slots: limits::ENDPOINTS }
    }
}
