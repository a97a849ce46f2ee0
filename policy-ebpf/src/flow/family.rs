//! The difference between the address families: the form of an address and the flow tables.
//!
//! An interface has a table of each kind of its own, so that the flows of one pod evict no flow of
//! another (S60); until the agent has created it, it uses a table that all such interfaces share.

use core::ptr;

use policy_common::{
    endpoint::Endpoint,
    flow::{Flow, FlowKey, place},
};

use crate::{
    address::Ip,
    element::{is_still, is_zero},
    maps::{FlowTable, POD_FLOWS4, POD_FLOWS6},
    parse::transport::Transport,
    scratch::Scratch,
};

/// An address family of the flow tables.
pub(crate) trait Family: Sized {
    /// An address in a flow's key.
    type Address: Copy + 'static;

    /// The flow table at a place.
    fn table(place: u32) -> Option<&'static FlowTable<Self::Address>>;
    /// The flow of this family in the scratch map.
    fn scratch_flow(scratch: *mut Scratch) -> *mut Flow<Self::Address>;
    /// An address in the form of a flow's key.
    fn address(ip: Ip) -> Self::Address;
    /// Whether an address, aligned as a word is, is an endpoint's own. Reads the map's element itself.
    fn owns(endpoint: &Endpoint, address: &Self::Address) -> bool;
}

/// The table of an interface's flows with a reply; the kernel inlines both look-ups of a place.
#[inline(always)]
pub(crate) fn flows<F: Family>(ifindex: u32) -> Option<&'static FlowTable<F::Address>> {
    F::table(place::replied(ifindex)).or_else(|| F::table(place::SHARED))
}

/// The table of an interface's flows without a reply.
#[inline(always)]
pub(crate) fn new_flows<F: Family>(ifindex: u32) -> Option<&'static FlowTable<F::Address>> {
    F::table(place::new(ifindex)).or_else(|| F::table(place::SHARED_NEW))
}

/// Ports of a flow, network byte order.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) local: [u8; 2],
    pub(crate) remote: [u8; 2],
}

impl Ports {
    /// The ports of a packet that the pod sends.
    #[inline(always)]
    pub(crate) fn sent(transport: &Transport) -> Self {
        Self { local: transport.source, remote: transport.destination }
    }

    /// The ports of a packet that the pod receives.
    #[inline(always)]
    pub(crate) fn received(transport: &Transport) -> Self {
        Self { local: transport.destination, remote: transport.source }
    }
}

/// The ends of a connection, as its pod sees them.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    /// Host-side interface of the pod.
    pub(crate) ifindex: u32,
    pub(crate) local: Ip,
    pub(crate) remote: Ip,
    pub(crate) ports: Ports,
    pub(crate) protocol: u8,
}

/// Writes the key of a flow, field by field: a whole key does not fit on the stack beside those of
/// the callers.
#[inline(always)]
pub(crate) fn write_key<F: Family>(flow: &mut Flow<F::Address>, ends: &Ends) {
    flow.key.ifindex = ends.ifindex;
    flow.key.local = F::address(ends.local);
    flow.key.remote = F::address(ends.remote);
    flow.key.local_port = ends.ports.local;
    flow.key.remote_port = ends.ports.remote;
    // In one word, because three bytes of padding would be written by `memset`.
    let last = size_of::<FlowKey<F::Address>>() / size_of::<u32>() - 1;
    let protocol = ptr::from_mut(&mut flow.key).cast::<u32>().wrapping_add(last);
    // SAFETY: protocol and padding are the last four bytes of a key, which is aligned as words are.
    unsafe { protocol.write_volatile(u32::from(ends.protocol).to_le()) };
}

/// IPv4.
pub(crate) struct V4;

impl Family for V4 {
    type Address = [u8; 4];

    #[inline(always)]
    fn table(place: u32) -> Option<&'static FlowTable<[u8; 4]>> {
        POD_FLOWS4.get(place)
    }

    #[inline(always)]
    fn scratch_flow(scratch: *mut Scratch) -> *mut Flow<[u8; 4]> {
        // SAFETY: the pointer is that of the map's element; no reference is made.
        unsafe { &raw mut (*scratch).flow4 }
    }

    #[inline(always)]
    fn address(ip: Ip) -> [u8; 4] {
        ip.bytes4()
    }

    #[inline(always)]
    fn owns(endpoint: &Endpoint, address: &[u8; 4]) -> bool {
        !is_zero(address) && is_still(&endpoint.address4, address)
    }
}

/// IPv6.
pub(crate) struct V6;

impl Family for V6 {
    type Address = [u8; 16];

    #[inline(always)]
    fn table(place: u32) -> Option<&'static FlowTable<[u8; 16]>> {
        POD_FLOWS6.get(place)
    }

    #[inline(always)]
    fn scratch_flow(scratch: *mut Scratch) -> *mut Flow<[u8; 16]> {
        // SAFETY: the pointer is that of the map's element; no reference is made.
        unsafe { &raw mut (*scratch).flow6 }
    }

    #[inline(always)]
    fn address(ip: Ip) -> [u8; 16] {
        ip.bytes()
    }

    #[inline(always)]
    fn owns(endpoint: &Endpoint, address: &[u8; 16]) -> bool {
        !is_zero(address) && is_still(&endpoint.address6, address)
    }
}
