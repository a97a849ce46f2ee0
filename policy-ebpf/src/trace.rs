//! The steps of a decision in plain words, in the build with the feature `trace` alone.
//!
//! Without the feature each function here is empty, so that the programs which normally run contain none
//! of it. With it, each step is a line that `aya-log` puts into its ring buffer, and
//! `policy-agent trace` prints:
//!
//! ```text
//! packet: from the pod, protocol 6, epoch 3
//! packet: from 10.244.0.10 port 40000
//! packet: to 10.244.0.11 port 22
//! flow: not looked up: the packet opens a connection, or its protocol has no flows
//! endpoint: slot 1, flags 0
//! endpoint: allow map 1 for ingress, 2 for egress
//! frontend: 10.244.0.11 port 22 is not a Service
//! identity: 10.244.0.11 has identity 2
//! allow map: 2 has an entry for identity 2
//! port set: whole protocols 0, bitmap 0
//! port set: protocol 6 from port 80 to 80
//! port set: does not allow port 22 of protocol 6
//! verdict: dropped, reason 1
//! ```

#[cfg(feature = "trace")]
mod lines;

use policy_common::{drops::Direction, endpoint::Endpoint, flow::Judgement};

use crate::address::Ip;

/// Calls a subprogram of `lines` in the build with the feature.
macro_rules! line {
    ($name:ident($($argument:expr),*)) => {
        #[cfg(feature = "trace")]
        lines::$name($($argument),*);
        #[cfg(not(feature = "trace"))]
        let _ = ($($argument),*);
    };
}

/// An IP packet at a hook was parsed, for the first time or again; it is in the scratch map.
#[inline(always)]
pub(crate) fn packet(direction: Direction, epoch: u32, is_again: bool) {
    line!(trace_packet(direction as u32, epoch, u32::from(is_again)));
}

/// A frame at a hook that is not IP.
#[inline(always)]
pub(crate) fn frame(direction: Direction, ether_type: u16) {
    line!(trace_frame(direction as u32, u32::from(ether_type)));
}

/// No live flow has the packet.
#[inline(always)]
pub(crate) fn no_flow() {
    line!(trace_no_flow());
}

/// No flow was looked up: the packet opens a connection, or belongs to none.
#[inline(always)]
pub(crate) fn flow_not_needed() {
    line!(trace_flow_not_needed());
}

/// A flow has the key of the packet.
#[inline(always)]
pub(crate) fn flow(judgement: &Judgement) {
    let Judgement { epoch, initiator, denied, .. } = *judgement;
    line!(trace_flow(epoch, u32::from(initiator), u32::from(denied)));
}

/// The endpoint of the interface was looked up.
#[inline(always)]
pub(crate) fn endpoint(endpoint: Option<&Endpoint>) {
    match endpoint {
        Some(endpoint) => {
            line!(trace_endpoint(endpoint.slot, endpoint.ingress, endpoint.egress, endpoint.flags));
        }
        None => {
            line!(trace_no_endpoint());
        }
    }
}

/// The frontend of an address and port was looked up; identity 0 is none.
#[inline(always)]
pub(crate) fn frontend(address: Ip, port: [u8; 2], identity: u32) {
    let Ip { high, low } = address;
    line!(trace_frontend(high, low, u32::from(u16::from_be_bytes(port)), identity));
}

/// The identity of an address was looked up, and decides with an allow map.
#[inline(always)]
pub(crate) fn identity(address: Ip, allow_map: u32, identity: u32) {
    let Ip { high, low } = address;
    line!(trace_identity(high, low, identity));
    line!(trace_allow_map(allow_map, identity));
}

/// A port was looked up in the port set; reason 0 is none, the port is in it.
#[inline(always)]
pub(crate) fn port(port: [u8; 2], protocol: u8, reason: u32) {
    line!(trace_port(u32::from(u16::from_be_bytes(port)), u32::from(protocol), reason));
}

/// The verdict; reason 0 is none, the packet passes.
#[inline(always)]
pub(crate) fn verdict(reason: u32) {
    line!(trace_verdict(reason));
}
