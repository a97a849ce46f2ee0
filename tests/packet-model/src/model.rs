//! The model: the verdict on a packet from its bytes, the world, the flows and the time, in the
//! simplest form that SEMANTICS.md allows. It shares no code with the programs.
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
mod held;
mod neighbour;
mod rules;
mod source;

pub use held::{NOT_HELD, compare};

use crate::addresses::{is_group, is_link_local, pod_has};
use crate::world::World;
use flow::Flow;
use fragments::FragmentVerdict;
use frame::{Frame, Packet};
use held::is_held;
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
    /// The contract does not say, or the line is listed in [`NOT_HELD`]: nothing is compared.
    Open,
}

impl Answer {
    /// A drop, or open while the programs do not hold the line.
    fn drop_if_held(line: &str, why: &'static str) -> Self {
        if is_held(line) { Self::Drop(why) } else { Self::Open }
    }
}

/// The flows and the clock of a model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    flows: Vec<Flow>,
    fragments: Vec<FragmentVerdict>,
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
        if packet.fragment.is_some() && !is_held("S33") || packet.has_options && !is_held("S34") {
            return Answer::Open;
        }
        // No sender has a group's address (RFC 1122, 3.2.1.3): the node's kernel drops it.
        if is_group(packet.source) && (!sent || pod.may_spoof) {
            return Answer::Open;
        }
        // The programs take these for extension headers.
        let number = packet.upper.as_ref().map(|upper| upper.protocol);
        let unwalked =
            packet.source.is_ipv6() && matches!(number, Some(50 | 135 | 139 | 140 | 253 | 254));
        if unwalked && !is_held("S34") {
            return Answer::Open;
        }
        if packet.upper.is_none() && !is_held("S34") {
            return Answer::Open;
        }
        let is_later = packet.fragment.is_some_and(|fragment| !fragment.is_first);
        let message = packet.upper.as_ref().filter(|_| !is_later).and_then(neighbour::message);
        if let (Some(kind), Some(upper)) = (message, &packet.upper)
            && (sent || pod.is_isolated())
        {
            if packet.is_padded && !is_held("S34 padding") {
                return Answer::Open;
            }
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
            } else if !sent && !own {
                Answer::drop_if_held("S32 flooding", "S32: a frame for another")
            } else {
                Answer::Pass
            };
        }
        if sent {
            if !pod.may_spoof
                && let Some(answer) = may_not_send(event.pod, packet)
            {
                if !is_held("S46 flows") && self.has_flow(event, packet) {
                    return Answer::Open;
                }
                return answer;
            }
        } else if !pod_has(event.pod, packet.destination) && !is_group(packet.destination) {
            // A pod that routes has other addresses behind it, and nobody knows which.
            let is_withdrawn = !is_held("S46 flows") && self.has_flow(event, packet);
            return if pod.may_spoof || is_withdrawn {
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
