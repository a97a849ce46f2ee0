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
    pub(crate) ifindex: u32,
    /// Epoch of the interface, read before anything else.
    pub(crate) epoch: u32,
    pub(crate) packet: &'a Packet,
    /// The packet that this ICMP error quotes was looked up already, and belongs to no known flow.
    pub(crate) quotation_checked: bool,
    /// The packet's flow was looked up already, and no table has it.
    pub(crate) has_no_flow: bool,
}

impl Arrival<'_> {
    /// Whether the pod sent the packet.
    #[inline(always)]
    pub(crate) fn sent(&self) -> bool {
        matches!(self.direction, Direction::Egress)
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
            ifindex: self.ifindex,
            local: self.local(),
            remote: self.remote(),
            ports: self.ports(transport),
            protocol: transport.protocol,
        }
    }
}
