//! Endpoints: the pods of this node.

use core::net::IpAddr;

use crate::plain;

/// `Endpoint::flags`: the pod may send from any address (S46, opt-out).
pub const MAY_SPOOF: u32 = 1 << 0;

/// `Endpoint::flags`: everything passes, and connections are recorded (S30): the pod is about to
/// be isolated.
pub const TRACKING: u32 = 1 << 1;

/// `Endpoint::ingress` and `egress`: isolated, and nothing passes; no allow map ever has this number.
pub const CLOSED: u32 = u32::MAX;

/// Value of `endpoints`, keyed by the index of the pod's host-side interface.
///
/// Written whole by the agent. A packet that finds no entry belongs to no known pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Endpoint {
    /// The key again: the kernel recycles elements under a reader.
    pub ifindex: u32,
    /// Number of this endpoint on the node, from 1; `slots` leads back from it.
    pub slot: u32,
    /// Allow map for ingress; 0 where the pod is non-isolated.
    pub ingress: u32,
    /// Allow map for egress; 0 where the pod is non-isolated.
    pub egress: u32,
    /// Bits `MAY_SPOOF`, `TRACKING`.
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
    /// Whether it is the endpoint of an address.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.address4 == address.octets(),
            IpAddr::V6(address) => self.address6 == address.octets(),
        }
    }
}

const _: () = assert!(size_of::<Endpoint>() == 44);

/// Value of `node_addresses`: an address of this node, whose processes always reach its pods (S37).
pub const OWN_NODE: u32 = 1;

/// Value of `node_addresses`: an address of another node, where tunnels of the network end (S46).
pub const OTHER_NODE: u32 = 2;
