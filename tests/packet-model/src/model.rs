//! The model: the verdict on a packet from its bytes, the world, the flows and the time, in the
//! simplest form that docs/semantics.md allows. It shares no code with the programs.
//!
//! Input is an [`Event`] (a frame at one hook of one pod); output is an [`Answer`]. The runner asks
//! the model first, then the loaded programs, and compares.
//!
//! ```text
//! web sends a SYN to api:80   → no flow: egress rules of web    → Pass, a flow of web
//! api answers                 → the flow of web                 → Pass
//! api is silent for a day     → the flow is dead; ACK from api  → Drop, S27
//! ```

mod connection;
mod flow;
mod fragments;
mod frame;
mod neighbour;
mod rules;
mod source;

use crate::addresses::{is_group, is_link_local, pod_has};
use crate::world::World;
use flow::{Flow, Sender};
use fragments::FirstFragment;
use frame::{Frame, Packet};
use source::may_not_send;

/// The direction of a packet, as the pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the pod.
    Ingress,
    /// From the pod.
    Egress,
}

/// A frame at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number of the pod in the world.
    pub pod: usize,
    /// The hook.
    pub direction: Direction,
    /// `ingress_ifindex`: the interface by which the node received it; 0 for a local process.
    pub arrived_by: u32,
    /// `tc_index`: the slot that a program left on the packet; 0 for none.
    pub mark: u32,
    /// The frame, from its Ethernet header.
    pub frame: Vec<u8>,
}

/// What the contract says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It passes.
    Pass,
    /// It is dropped, on account of a line of the contract.
    Drop(&'static str),
    /// The contract does not say: nothing is compared.
    Open,
}

/// The flows and the clock of a model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    flows: Vec<Flow>,
    fragments: Vec<FirstFragment>,
    /// Seconds since the start.
    now: u64,
}

impl Model {
    /// Lets time pass.
    pub fn age(&mut self, seconds: u64) {
        self.now += seconds;
    }

    /// How many flows it knows, dead ones included.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Judges a packet and remembers what it changes; nothing where the answer is open.
    pub fn judge(&mut self, world: &World, event: &Event) -> Answer {
        let before = self.clone();
        let answer = self.judge_frame(world, event);
        if answer == Answer::Open {
            *self = before;
        }
        answer
    }

    fn judge_frame(&mut self, world: &World, event: &Event) -> Answer {
        let pod = &world.pods[event.pod];
        let (sent, isolated) = (event.direction == Direction::Egress, pod.is_isolated());
        match frame::read(&event.frame) {
            Frame::Arp(body) if sent && !neighbour::pod_may_send_arp(event.pod, pod, &body) => {
                Answer::Drop("S32: an ARP packet that is not the pod's own")
            }
            Frame::Tagged if sent && !pod.may_spoof => Answer::Drop("S46: a tag hides the source"),
            Frame::Tagged | Frame::Other if isolated => Answer::Drop("S32: another EtherType"),
            Frame::NoAddresses if isolated => Answer::Drop("S34: no addresses"),
            Frame::NoAddresses if sent && !pod.may_spoof => Answer::Drop("S46: no source"),
            Frame::Arp(_) | Frame::Tagged | Frame::Other | Frame::NoAddresses => Answer::Pass,
            Frame::Ip(packet) => self.judge_packet(world, event, &packet),
        }
    }

    fn judge_packet(&mut self, world: &World, event: &Event, packet: &Packet) -> Answer {
        let pod = &world.pods[event.pod];
        let sent = event.direction == Direction::Egress;
        // No sender has a group's address (RFC 1122, 3.2.1.3): the node's kernel drops it.
        if is_group(packet.source) && (!sent || pod.may_spoof) {
            return Answer::Open;
        }
        let is_later = packet.fragment.is_some_and(|fragment| !fragment.is_first);
        let message = packet.upper.as_ref().filter(|_| !is_later).and_then(neighbour::message);
        if let (Some(kind), Some(upper)) = (message, &packet.upper)
            && (sent || pod.is_isolated())
        {
            let own = pod_has(event.pod, packet.destination)
                || is_group(packet.destination)
                || is_link_local(packet.destination);
            return if !neighbour::is_valid(packet, upper, kind) {
                Answer::Drop("S32: outside the standard of neighbour discovery or MLD")
            } else if sent
                && !pod.may_spoof
                && !neighbour::pod_may_send(event.pod, packet, upper, kind)
            {
                Answer::Drop("S32: speaks for another")
            } else if !sent && !own && !pod.may_spoof {
                Answer::Drop("S32: a frame for another")
            } else {
                Answer::Pass
            };
        }
        if sent {
            if !pod.may_spoof
                && let Some(answer) = may_not_send(event.pod, packet)
            {
                return answer;
            }
        } else if !(pod_has(event.pod, packet.destination)
            || is_group(packet.destination)
            || is_link_local(packet.destination)
                && source::sender(world, event, packet.source) == Sender::Node)
        {
            // A pod that routes has other addresses behind it, and nobody knows which.
            return if pod.may_spoof {
                Answer::Open
            } else if pod.is_isolated() {
                Answer::Drop("S32: a frame for another")
            } else {
                Answer::Pass
            };
        }
        self.judge_connection(world, event, packet)
    }
}
