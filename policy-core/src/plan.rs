//! From what the kernel has to what it should have, one map write at a time.

mod step;

use std::{collections::BTreeMap, net::IpAddr};

pub use step::Step;

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
}

/// Interfaces of the node, by index.
pub type Interfaces = BTreeMap<u32, Interface>;
