//! Service frontends: addresses that kube-proxy translates after the programs saw the packet (S40).

use crate::{address::Address, plain};

/// With protocol TCP, the port of a key that stands for every protocol and port of its address without a key of
/// their own. The address is that of a Service which does not fit into the map.
pub const EVERY_PORT: u16 = 0;

/// Key of `frontends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FrontendKey {
    /// Cluster IP, external IP, load-balancer IP or, for a node port, address of a node.
    pub address: Address,
    /// Port, network byte order.
    pub port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// Value of `frontends`: the identity of the frontend's backends.
///
/// Frontends with the same backends share an identity. An egress allow map may have an entry for
/// it; without one, the connection passes exactly if the default entry allows every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Frontend {
    /// The key again: the kernel recycles elements while a program reads them.
    pub key: FrontendKey,
    /// Identity, from 1, from the same number space as those of addresses.
    pub identity: u32,
}

plain!(FrontendKey, Frontend);

const _: () = assert!(size_of::<FrontendKey>() == 20);
const _: () = assert!(size_of::<Frontend>() == 24);
