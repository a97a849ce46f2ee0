//! Packets that could carry an inner packet, with a source that no program checks (S46).
//!
//! A node takes such packets apart at any of its addresses, also those that no Node object lists. So
//! they may go to pods alone: the far pod's own programs check what comes out of them.

use policy_common::protocol::UDP;

use crate::{
    address::Ip,
    flow::family::Ends,
    maps::{PODS, TUNNEL_PORTS},
    parse::{Bytes, ip::Packet},
};

/// Whether a packet that a pod sends could carry an inner packet to a node.
///
/// Fragments and options hide no port: the first fragment has it, and without that one nothing is
/// unpacked. The last destination of a source route is not looked for.
#[inline(always)]
pub(crate) fn tunnels(bytes: &impl Bytes, packet: &Packet) -> bool {
    let port = match packet.transport() {
        Ok(transport) if transport.protocol == UDP => Some(transport.destination),
        Err(_) if packet.routed && packet.protocol == UDP => {
            bytes.load(usize::from(packet.upper) + 2)
        }
        Ok(_) | Err(_) => None,
    };
    (is_tunnel(packet.protocol) || port.is_some_and(is_tunnel_port))
        && (packet.routed || !is_pods(packet.destination))
}

/// Whether packets of a flow that the pod sends go into a tunnel to a node.
#[inline(always)]
pub(crate) fn leads_into(ends: &Ends) -> bool {
    ends.protocol == UDP && is_tunnel_port(ends.ports.remote) && !is_pods(ends.remote)
}

/// Whether a protocol is IP in IP, IPv6 in IP, or GRE.
#[inline(always)]
pub(crate) fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Whether nodes accept tunnel packets at a UDP port, network byte order.
#[inline(always)]
pub(crate) fn is_tunnel_port(port: [u8; 2]) -> bool {
    TUNNEL_PORTS.get_ptr(u32::from(u16::from_be_bytes(port))).is_some()
}

/// Whether an address is a pod's.
#[inline(always)]
fn is_pods(address: Ip) -> bool {
    PODS.get_ptr(address.bytes()).is_some()
}
