//! Fragments: the datagrams of which the first fragment passed (S33).

use crate::{address::Address, plain};

/// Datagrams of one endpoint that are remembered at a time.
pub const PLACES: u32 = 64;

/// Value of `fragments`, keyed by a place: the endpoint's slot times [`PLACES`], and a hash of the
/// datagram. So an endpoint has places of its own (S60), and at most one slab of memory for each.
///
/// Written by the programs. Only datagrams that pass are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fragment {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification; for IPv4 the protocol is in the upper half.
    pub id: u32,
    /// Host-side interface of the endpoint.
    pub ifindex: u32,
    /// `CLOCK_MONOTONIC` of the first fragment, in nanoseconds.
    pub time: u64,
}

plain!(Fragment);

const _: () = assert!(size_of::<Fragment>() == 48);
