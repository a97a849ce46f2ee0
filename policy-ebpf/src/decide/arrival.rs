//! A packet at a hook, with the interface and its epoch.

use policy_common::drops::Direction;

use crate::{
    address::Ip,
    flow::family::{Ends, Ports},
    parse::{ip::Packet, transport::Transport},
    skb::Skb,
};

/// What happened to a packet before it is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Turn {
    /// Nothing.
    Plain = 0,
    /// It goes to a backend that was chosen for it: the rules have allowed that.
    Chosen = 1,
    /// It goes to the backend of its flow.
    Forwarded = 2,
    /// It comes from a backend, in place of which it shows the frontend.
    Returned = 3,
}

impl Turn {
    /// The turn with a number.
    #[inline(always)]
    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Chosen,
            2 => Self::Forwarded,
            3 => Self::Returned,
            _ => Self::Plain,
        }
    }
}

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
    /// Place of the number of a [`Turn`](super::Turn).
    pub(crate) const TURN: u32 = 8;
}

impl Arrival<'_> {
    /// Whether the pod sent the packet.
    #[inline(always)]
    pub(crate) fn sent(&self) -> bool {
        matches!(self.direction, Direction::Egress)
    }

    /// What happened to the packet before.
    #[inline(always)]
    pub(crate) fn turn(&self) -> Turn {
        Turn::from_number(self.looked_up >> looked_up::TURN)
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
