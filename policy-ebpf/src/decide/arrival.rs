//! A packet at a hook, with the interface and its epoch.

use policy_common::drops::Direction;

use crate::{
    address::Ip,
    flow::family::{Ends, Ports},
    parse::{ip::Packet, transport::Transport},
    skb::Skb,
};

/// A packet at a hook.
pub(crate) struct Arrival<'a> {
    pub(crate) skb: Skb,
    pub(crate) direction: Direction,
    /// Epoch of the interface, read before anything else.
    pub(crate) epoch: u32,
    pub(crate) packet: &'a Packet,
    /// Bits of [`looked_up`].
    pub(crate) looked_up: u32,
}

/// Bits of what was looked up before a subprogram is called; one word, because each takes stack.
pub(crate) mod looked_up {
    pub(crate) const NOTHING: u32 = 0;
    /// The packet that this ICMP error quotes; it belongs to no known flow.
    pub(crate) const QUOTATION: u32 = 1 << 0;
    /// The packet's flow; no table has it.
    pub(crate) const NO_FLOW: u32 = 1 << 1;
}

impl Arrival<'_> {
    /// Whether the pod sent the packet.
    #[inline(always)]
    pub(crate) fn sent(&self) -> bool {
        matches!(self.direction, Direction::Egress)
    }

    /// Host-side interface of the pod: read where it is needed, because it would take stack.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        self.skb.ifindex()
    }

    /// The pod's address.
    #[inline(always)]
    pub(crate) fn local(&self) -> Ip {
        if self.sent() { self.packet.source } else { self.packet.destination }
    }

    /// The far end's address.
    #[inline(always)]
    pub(crate) fn remote(&self) -> Ip {
        if self.sent() { self.packet.destination } else { self.packet.source }
    }

    /// The pod's port and the far end's.
    #[inline(always)]
    pub(crate) fn ports(&self, transport: &Transport) -> Ports {
        if self.sent() { Ports::sent(transport) } else { Ports::received(transport) }
    }

    /// The ends of the packet's connection.
    #[inline(always)]
    pub(crate) fn ends(&self, transport: &Transport) -> Ends {
        Ends {
            ifindex: self.ifindex(),
            local: self.local(),
            remote: self.remote(),
            ports: self.ports(transport),
            protocol: transport.protocol,
        }
    }
}
