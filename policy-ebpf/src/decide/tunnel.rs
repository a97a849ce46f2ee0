//! Packets that could carry an inner packet, with a source that no program checks (S46).
//!
//! A node takes such packets apart at any of its addresses, also those that no Node object lists. So
//! they may go to pods alone: the far pod's own programs check what comes out of them.

use policy_common::protocol::UDP;

use crate::{
    address::Ip,
    maps::{IDENTITIES, TUNNEL_PORTS},
    parse::ip::Packet,
};

/// Whether a packet that a pod sends could carry an inner packet to a node.
///
/// Fragments and options hide no port: the first fragment has it, and without that one nothing is
/// taken apart.
#[inline(always)]
pub(crate) fn tunnels(packet: &Packet) -> bool {
    let to_tunnel = is_tunnel(packet.protocol)
        || packet.transport().is_ok_and(|transport| {
            transport.protocol == UDP && is_tunnel_port(transport.destination)
        });
    to_tunnel && !is_pods(packet.destination)
}

/// Whether a protocol is IP in IP, IPv6 in IP, or GRE.
#[inline(always)]
pub(crate) fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

#[inline(always)]
fn is_tunnel_port(port: [u8; 2]) -> bool {
    TUNNEL_PORTS.get_ptr(u32::from(u16::from_be_bytes(port))).is_some()
}

/// Whether an address is known as a pod's.
#[inline(always)]
fn is_pods(address: Ip) -> bool {
    IDENTITIES.get_ptr(address.bytes()).is_some()
}
