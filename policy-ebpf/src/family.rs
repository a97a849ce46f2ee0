//! What differs between the address families: the key of a flow and the tables.

use aya_ebpf::btf_maps::LruHashMap;
use policy_common::{
    flow::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState},
    limits,
};

use crate::{
    address::Ip,
    maps::{FLOWS4, FLOWS6, NEW_FLOWS4, NEW_FLOWS6, Scratch},
    transport::Transport,
};

/// An address family of the flow tables.
pub(crate) trait Family: Sized {
    /// Key of a flow.
    type Key: Copy + 'static;
    /// Value of a flow; starts with its `FlowState`.
    type Flow: 'static;

    /// Flows that have seen a reply.
    fn flows() -> &'static LruHashMap<Self::Key, Self::Flow, { limits::FLOWS }>;
    /// Flows that have not.
    fn new_flows() -> &'static LruHashMap<Self::Key, Self::Flow, { limits::NEW_FLOWS }>;
    /// Room for a flow of this family.
    fn room(scratch: *mut Scratch) -> *mut Self::Flow;
    /// Writes the addresses, and zero into what is padding, of a flow's key.
    fn write_addresses(flow: &mut Self::Flow, local: Ip, remote: Ip);
    /// Writes the rest of a flow's key.
    fn write_ends(flow: &mut Self::Flow, ifindex: u32, ports: Ports, protocol: u8);
    /// The key that a flow carries.
    fn key(flow: &Self::Flow) -> &Self::Key;
    /// The state that a flow carries.
    fn state(flow: &mut Self::Flow) -> &mut FlowState;
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

/// IPv4.
pub(crate) struct V4;

impl Family for V4 {
    type Key = FlowKey4;
    type Flow = Flow4;

    #[inline(always)]
    fn flows() -> &'static LruHashMap<FlowKey4, Flow4, { limits::FLOWS }> {
        &FLOWS4
    }

    #[inline(always)]
    fn new_flows() -> &'static LruHashMap<FlowKey4, Flow4, { limits::NEW_FLOWS }> {
        &NEW_FLOWS4
    }

    #[inline(always)]
    fn room(scratch: *mut Scratch) -> *mut Flow4 {
        // SAFETY: the pointer is that of the map's element; no reference is made.
        unsafe { &raw mut (*scratch).flow4 }
    }

    #[inline(always)]
    fn write_addresses(flow: &mut Flow4, local: Ip, remote: Ip) {
        flow.key.local = local.bytes4();
        flow.key.remote = remote.bytes4();
        flow.key.pad = [0; 3];
        flow.pad = [0; 4];
    }

    #[inline(always)]
    fn write_ends(flow: &mut Flow4, ifindex: u32, ports: Ports, protocol: u8) {
        flow.key.ifindex = ifindex;
        flow.key.local_port = ports.local;
        flow.key.remote_port = ports.remote;
        flow.key.protocol = protocol;
    }

    #[inline(always)]
    fn key(flow: &Flow4) -> &FlowKey4 {
        &flow.key
    }

    #[inline(always)]
    fn state(flow: &mut Flow4) -> &mut FlowState {
        &mut flow.state
    }
}

/// IPv6.
pub(crate) struct V6;

impl Family for V6 {
    type Key = FlowKey6;
    type Flow = Flow6;

    #[inline(always)]
    fn flows() -> &'static LruHashMap<FlowKey6, Flow6, { limits::FLOWS }> {
        &FLOWS6
    }

    #[inline(always)]
    fn new_flows() -> &'static LruHashMap<FlowKey6, Flow6, { limits::NEW_FLOWS }> {
        &NEW_FLOWS6
    }

    #[inline(always)]
    fn room(scratch: *mut Scratch) -> *mut Flow6 {
        // SAFETY: the pointer is that of the map's element; no reference is made.
        unsafe { &raw mut (*scratch).flow6 }
    }

    #[inline(always)]
    fn write_addresses(flow: &mut Flow6, local: Ip, remote: Ip) {
        flow.key.local = local.bytes();
        flow.key.remote = remote.bytes();
        flow.key.pad = [0; 3];
        flow.pad = [0; 4];
    }

    #[inline(always)]
    fn write_ends(flow: &mut Flow6, ifindex: u32, ports: Ports, protocol: u8) {
        flow.key.ifindex = ifindex;
        flow.key.local_port = ports.local;
        flow.key.remote_port = ports.remote;
        flow.key.protocol = protocol;
    }

    #[inline(always)]
    fn key(flow: &Flow6) -> &FlowKey6 {
        &flow.key
    }

    #[inline(always)]
    fn state(flow: &mut Flow6) -> &mut FlowState {
        &mut flow.state
    }
}
