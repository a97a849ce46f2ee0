//! Identities: numbers for addresses that no policy in force on the node tells apart.

use crate::{address::Address, plain};

/// Value of `identities`, keyed by the address of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Identity {
    /// The key again: the kernel recycles elements under a reader.
    pub address: Address,
    /// Number; 0 for an address that is in a block of `blocks` but not of its identity.
    pub identity: u32,
}

plain!(Identity);

const _: () = assert!(size_of::<Identity>() == 20);
