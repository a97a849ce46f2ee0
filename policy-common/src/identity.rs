//! Identities: one number for all addresses that match the same peers of policies in force.

use crate::{address::Address, plain};

/// Value of `identities`, keyed by the address of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Identity {
    /// The key again: the kernel recycles elements while a program reads them.
    pub address: Address,
    /// Identity; 0 for an address that lies in a block of `blocks` but has the default identity.
    pub identity: u32,
}

plain!(Identity);

const _: () = assert!(size_of::<Identity>() == 20);
