//! The difference between the address families: the form of an address and the flow tables.

use aya_ebpf::btf_maps::LruHashMap;
use policy_common::{
    flow::{Flow, FlowKey},
    limits,
};

use crate::{
    address::Ip,
    maps::{FLOWS4, FLOWS6, NEW_FLOWS4, NEW_FLOWS6},
    parse::transport::Transport,
    scratch::Scratch,
};

/// Flows with a reply, of one family.
type Replied<A> = LruHashMap<FlowKey<A>, Flow<A>, { limits::FLOWS }>;

/// Flows without a reply yet, of one family.
type New<A> = LruHashMap<FlowKey<A>, Flow<A>, { limits::NEW_FLOWS }>;

/// An address family of the flow tables.
pub(crate) trait Family: Sized {
    /// An address in a flow's key.
    type Address: Copy + 'static;

    /// The table of flows with a reply.
    fn flows() -> &'static Replied<Self::Address>;
    /// The table of flows without a reply.
    fn new_flows() -> &'static New<Self::Address>;
    /// The flow of this family in the scratch map.
    fn scratch_flow(scratch: *mut Scratch) -> *mut Flow<Self::Address>;
    /// An address in the form of a flow's key.
    fn address(ip: Ip) -> Self::Address;
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
    flow.key.protocol = ends.protocol;
    flow.key.pad = [0; 3];
    flow.pad = [0; 4];
}

/// IPv4.
pub(crate) struct V4;

impl Family for V4 {
    type Address = [u8; 4];

    #[inline(always)]
    fn flows() -> &'static Replied<[u8; 4]> {
        &FLOWS4
    }

    #[inline(always)]
    fn new_flows() -> &'static New<[u8; 4]> {
        &NEW_FLOWS4
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
}

/// IPv6.
pub(crate) struct V6;

impl Family for V6 {
    type Address = [u8; 16];

    #[inline(always)]
    fn flows() -> &'static Replied<[u8; 16]> {
        &FLOWS6
    }

    #[inline(always)]
    fn new_flows() -> &'static New<[u8; 16]> {
        &NEW_FLOWS6
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
}
