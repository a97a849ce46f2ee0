//! Service frontends: what kube-proxy translates behind the classifier's back (S40).

use crate::{address::Address, plain};

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

/// Value of `frontends`: the identity that stands for the backends behind it.
///
/// Frontends with the same backends share one. An egress allow map has an entry for it; without
/// one, all backends are allowed exactly if the default entry allows every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Frontend {
    /// The key again: the kernel recycles elements under a reader.
    pub key: FrontendKey,
    /// Identity, from 1, out of the same numbers as those of addresses.
    pub identity: u32,
}

plain!(FrontendKey, Frontend);

const _: () = assert!(size_of::<FrontendKey>() == 20);
const _: () = assert!(size_of::<Frontend>() == 24);
