//! Flows: who opened a connection, what passed of it, and how long it lives when it is silent.

use std::net::IpAddr;

use super::Direction;
use super::frame::{Kind, Transport};
use crate::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Who really sends packets to a pod, as far as it is proven (S27, S37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A process of the node.
    Node,
    /// A pod of this node, whatever the source address is.
    Pod(usize),
    /// Neither.
    Elsewhere,
}

/// Which end opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initiator {
    /// The pod.
    Local,
    /// The far end, with its sender.
    Remote(Sender),
    /// Nobody saw it: the connection must be allowed as one of either end. With the sender of the
    /// first packet, where the far end sent it.
    Either(Option<Sender>),
}

/// A connection as one pod sees it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) pod: usize,
    pub(crate) ends: FlowEnds,
    pub(crate) initiator: Initiator,
    /// When a packet of it last passed, seconds.
    pub(crate) passed: u64,
    /// When the initiator last sent, passed or not.
    pub(crate) initiator_sent: u64,
    /// Who sent the first packet of the far end.
    pub(crate) answered_by: Option<Sender>,
    /// A packet of it was dropped because it is no longer allowed.
    pub(crate) is_denied: bool,
    pub(crate) replied: bool,
    /// A packet of the initiator followed the reply.
    pub(crate) confirmed: bool,
    /// FIN from the pod, and from the far end.
    pub(crate) fins: [bool; 2],
    pub(crate) reset: bool,
}

/// Addresses and ports of a connection, as its pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowEnds {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) protocol: u8,
}

/// How old a silent flow gets: it surely lives below the first number of seconds, and is surely
/// dead above the second. In between the contract says nothing.
pub(crate) struct Life {
    pub(crate) sure: u64,
    pub(crate) most: u64,
}

/// Whether a flow is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Alive,
    Dead,
    /// The contract says nothing.
    Unknown,
}

impl Flow {
    /// Whether the flow is alive at a time.
    pub(crate) fn age(&self, now: u64) -> Age {
        let silent = now - self.passed;
        let life = self.life();
        if silent < life.sure {
            return Age::Alive;
        }
        // The other side's packets hold the denial of S29 no longer than the denied side's do.
        if self.is_denied && !has_beginning(self.ends.protocol) {
            let silent = now - self.initiator_sent;
            let unreplied = unreplied_life(self.ends.protocol);
            return if silent > unreplied && now - self.passed > life.most {
                Age::Dead
            } else if silent < unreplied {
                Age::Alive
            } else {
                Age::Unknown
            };
        }
        if silent > life.most { Age::Dead } else { Age::Unknown }
    }

    /// How long it lives when it is silent: the life that `nf_conntrack` gives it (S27), with
    /// kube-proxy's values for established and half-closed TCP.
    fn life(&self) -> Life {
        let between = |sure, most| Life { sure, most };
        match self.ends.protocol {
            TCP if self.reset => between(10, 86_400),
            TCP if self.fins == [true; 2] => between(30, 120),
            TCP if self.fins != [false; 2] => between(60, 3_600),
            TCP if matches!(self.initiator, Initiator::Either(_)) => between(60, 86_400),
            TCP if self.replied && self.confirmed => between(86_400, 86_400),
            TCP if self.replied => between(60, 86_400),
            TCP => between(120, 120),
            SCTP if self.replied || matches!(self.initiator, Initiator::Either(_)) => {
                between(3, 86_400)
            }
            SCTP => between(3, 30),
            UDP if self.replied => between(30, 120),
            UDP | ICMP | ICMPV6 => between(30, 30),
            _ => between(600, 600),
        }
    }

    /// Whether a packet in this direction is the initiator's.
    pub(crate) fn is_initiators(&self, direction: Direction) -> bool {
        let local =
            self.initiator == Initiator::Local || matches!(self.initiator, Initiator::Either(None));
        local == (direction == Direction::Egress)
    }

    /// Updates the flow after a packet of it that passes.
    pub(crate) fn pass(&mut self, direction: Direction, transport: Transport, now: u64) {
        self.passed = now;
        self.is_denied = false;
        if self.is_initiators(direction) {
            self.initiator_sent = now;
            self.confirmed |= self.replied;
        } else {
            self.replied = true;
        }
        if let Kind::UnderWay { fin, reset } = transport.kind {
            self.fins[usize::from(direction == Direction::Ingress)] |= fin;
            self.reset |= reset;
        }
    }
}

/// Whether packets of a protocol show that a connection starts.
pub(crate) fn has_beginning(protocol: u8) -> bool {
    matches!(protocol, TCP | SCTP)
}

/// How long a flow without a reply lives, of a protocol without a beginning.
pub(crate) fn unreplied_life(protocol: u8) -> u64 {
    if matches!(protocol, UDP | ICMP | ICMPV6) { 30 } else { 600 }
}
