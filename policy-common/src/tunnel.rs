//! Tunnels: packets that carry an inner packet with any source (S46).

/// UDP ports at which nodes usually take tunnel packets apart: VXLAN (RFC 7348), VXLAN as Linux and
/// flannel use it, Geneve (RFC 8926), and Weave Net's VXLAN.
///
/// The loader enters them into `tunnel_ports`, beside those of the node's own devices.
pub const DEFAULT_PORTS: [u16; 4] = [4789, 8472, 6081, 6784];
