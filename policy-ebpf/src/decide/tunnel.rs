//! Packets that could carry an inner packet, with a source that no program checks (S46).

use policy_common::protocol::UDP;

use crate::{address::Ip, maps::NODE_ADDRESSES, parse::ip::Packet};

/// UDP ports of tunnels, network byte order: VXLAN (RFC 7348, and Linux' default) and Geneve.
const TUNNEL_PORTS: [[u8; 2]; 3] =
    [4789_u16.to_be_bytes(), 8472_u16.to_be_bytes(), 6081_u16.to_be_bytes()];

/// Whether a packet could carry an inner packet to a node.
#[inline(always)]
pub(crate) fn tunnels(packet: &Packet) -> bool {
    if is_tunnel(packet.protocol) {
        return true;
    }
    let to_tunnel = match packet.transport() {
        Ok(transport) => TUNNEL_PORTS.contains(&transport.destination),
        // Fragments and options hide the port.
        Err(_) => true,
    };
    packet.protocol == UDP && to_tunnel && reaches_node(packet.destination)
}

/// Whether a protocol is IP in IP, IPv6 in IP, or GRE.
#[inline(always)]
pub(crate) fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Whether a node accepts packets to this address as its own.
#[inline(always)]
fn reaches_node(address: Ip) -> bool {
    address.is_group() || NODE_ADDRESSES.get_ptr(address.bytes()).is_some()
}
