//! Endpoints: the pods of this node.

use core::net::IpAddr;

use crate::plain;

/// Bits of `Endpoint::flags`.
pub mod flags {
    /// The pod may send from any address (the opt-out of S46).
    pub const MAY_SPOOF: u32 = 1 << 0;
    /// Everything passes, and connections are recorded, because the pod is about to be isolated
    /// (S30).
    pub const TRACKING: u32 = 1 << 1;
    /// The pod gets a reply to what it may not send (S59).
    pub const REJECT: u32 = 1 << 2;
}

/// `Endpoint::ingress` and `egress`: isolated, and nothing passes.
/// No allow map ever has this number.
pub const CLOSED: u32 = u32::MAX;

/// Value of `endpoints`, keyed by the index of the pod's host-side interface.
///
/// Written whole by the agent. A packet that finds no entry belongs to no known pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Endpoint {
    /// The key again: the kernel recycles elements while a program reads them.
    pub ifindex: u32,
    /// Number of this endpoint on the node, from 1; `slots` maps it back to the interface.
    pub slot: u32,
    /// Allow map for ingress; 0 where the pod is non-isolated.
    pub ingress: u32,
    /// Allow map for egress; 0 where the pod is non-isolated.
    pub egress: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Interface index of the bridge that the host side is a port of; 0 for none.
    pub bridge: u32,
    /// IPv4 address, network byte order; zero for none.
    pub address4: [u8; 4],
    /// IPv6 address; zero for none.
    pub address6: [u8; 16],
}

plain!(Endpoint);

impl Endpoint {
    /// Whether an address is one of the pod's.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.address4 == address.octets(),
            IpAddr::V6(address) => self.address6 == address.octets(),
        }
    }
}

const _: () = assert!(size_of::<Endpoint>() == 44);

/// The kind of node that an address belongs to; values of `node_addresses` are its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum NodeKind {
    /// This node: its processes always reach its pods (S37).
    Own = 1,
    /// Another node: tunnels of the pod network end there (S46).
    Other = 2,
}
