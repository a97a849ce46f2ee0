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

mod flow;
mod frame;
mod fragments;
mod held;
mod neighbour;
mod rules;

use std::net::IpAddr;

pub use held::NOT_HELD;

use crate::addresses::{
    OTHER_NODE, OWN_NODE, TUNNEL_PORTS, interface, is_group, is_link_group, is_link_local, is_pod,
    listed, pod_has, slot,
};
use crate::world::{World, protocol};
use flow::{Age, Ends, Flow, Initiator, Sender, has_beginning, unreplied_life};
use fragments::FragmentVerdict;
use frame::{Frame, Kind, Packet, Transport};
use held::is_held;

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
            Frame::Arp(_) => Answer::Pass,
            Frame::Tagged if sent && !pod.may_spoof => Answer::Drop("S46: a tag hides the source"),
            Frame::Tagged | Frame::Other if isolated => Answer::Drop("S32: another EtherType"),
            Frame::Tagged | Frame::Other => Answer::Pass,
            Frame::NoAddresses if isolated => Answer::Drop("S34: no addresses"),
            Frame::NoAddresses if sent && !pod.may_spoof => Answer::Drop("S46: no source"),
            Frame::NoAddresses => Answer::Pass,
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
        let unwalked = packet.source.is_ipv6()
            && matches!(number, Some(50 | 135 | 139 | 140 | 253 | 254));
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

    fn judge_connection(&mut self, world: &World, event: &Event, packet: &Packet) -> Answer {
        let pod = &world.pods[event.pod];
        let sender = sender(world, event, packet.source);
        if let Some(answer) = self.later_fragment(world, event, packet, sender) {
            return answer;
        }
        let Some(transport) = packet.upper.as_ref().and_then(frame::transport) else {
            return if pod.is_isolated() { Answer::Drop("S34: unreadable") } else { Answer::Pass };
        };
        let answer = self.judge_transport(world, event, packet, &transport, sender);
        self.remember_fragment(event, packet, answer);
        answer
    }

    fn judge_transport(
        &mut self,
        world: &World,
        event: &Event,
        packet: &Packet,
        transport: &Transport,
        sender: Sender,
    ) -> Answer {
        if transport.kind == Kind::Error
            && let Some(answer) = self.judge_error(world, event, packet)
        {
            return answer;
        }
        let ends = ends(event.direction, packet.source, packet.destination, transport);
        let place =
            self.flows.iter().position(|flow| flow.pod == event.pod && flow.ends == ends);
        let alive = match place.map(|place| self.flows[place].age(self.now)) {
            Some(Age::Unknown) => return Answer::Open,
            Some(Age::Alive) => place,
            Some(Age::Dead) | None => None,
        };
        if let Some(place) = alive {
            match belongs(&self.flows[place], event.direction, transport, sender) {
                Some(true) => return self.judge_known(world, event, place, transport, sender),
                Some(false) => {}
                None => return Answer::Open,
            }
        }
        self.judge_new(world, event, ends, transport, sender)
    }

    /// Judges a packet of a live flow: as a connection of the flow's initiator (S29).
    fn judge_known(
        &mut self,
        world: &World,
        event: &Event,
        place: usize,
        transport: &Transport,
        sender: Sender,
    ) -> Answer {
        let flow = &self.flows[place];
        let (ends, initiator) = (flow.ends, flow.initiator);
        if rules::allow(world, event.pod, initiator, &ends) {
            self.flows[place].pass(event.direction, transport, self.now);
            return Answer::Pass;
        }
        let revoked = Answer::Drop("S29: no longer allowed");
        let flow = &mut self.flows[place];
        flow.is_denied = true;
        flow.dropped = self.now;
        let is_initiators = flow.is_initiators(event.direction);
        let silent = self.now - flow.initiator_sent;
        if is_initiators {
            flow.initiator_sent = self.now;
        }
        if is_initiators || has_beginning(ends.protocol) {
            return revoked;
        }
        if !is_held("S29 other side") {
            return Answer::Open;
        }
        // A packet of the other side, of a protocol without a beginning: that side's connection.
        let pod = &world.pods[event.pod];
        let (isolated, turned) = match event.direction {
            Direction::Egress => (pod.egress.is_some(), Initiator::Local),
            Direction::Ingress => (pod.ingress.is_some(), Initiator::Remote(sender)),
        };
        if isolated && !rules::allow(world, event.pod, turned, &ends) {
            return revoked;
        }
        let unreplied = unreplied_life(ends.protocol);
        if !isolated && silent == unreplied {
            return Answer::Open;
        }
        if isolated || silent > unreplied {
            self.record(event.pod, ends, turned);
        }
        Answer::Pass
    }

    /// Judges a packet of no live flow, as a connection of the side that sends it.
    fn judge_new(
        &mut self,
        world: &World,
        event: &Event,
        ends: Ends,
        transport: &Transport,
        sender: Sender,
    ) -> Answer {
        let pod = &world.pods[event.pod];
        let under_way = matches!(transport.kind, Kind::UnderWay { .. });
        let initiator = match event.direction {
            Direction::Egress if under_way => Initiator::Either(None),
            Direction::Egress => Initiator::Local,
            Direction::Ingress if under_way && sender != Sender::Node => {
                Initiator::Either(Some(sender))
            }
            Direction::Ingress => Initiator::Remote(sender),
        };
        if !rules::allow(world, event.pod, initiator, &ends) {
            return Answer::Drop("S2: no rule allows it");
        }
        // Nothing could be recognised as the reply of a packet to a group, of ICMP without an
        // identifier, or of a tunnel.
        let has_replies = !is_group(ends.remote)
            && !is_group(ends.local)
            && !matches!(transport.kind, Kind::Error | Kind::Notice)
            && !is_tunnel(ends.protocol);
        let records = pod.is_isolated() || pod.tracking && !under_way;
        if has_replies && records {
            self.record(event.pod, ends, initiator);
        }
        Answer::Pass
    }

    /// Judges an ICMP error by the packet that it quotes (S31); `None` where that belongs to no
    /// flow.
    fn judge_error(&self, world: &World, event: &Event, packet: &Packet) -> Option<Answer> {
        if packet.is_padded && !is_held("S34 padding") {
            return Some(Answer::Open);
        }
        let quotation = frame::quoted(packet.upper.as_ref()?)?;
        let unwalked = quotation.has_options && packet.source.is_ipv6() && !is_held("S34");
        if unwalked || !quotation.is_echo && !is_held("S31 timestamps") {
            return Some(Answer::Open);
        }
        let frame::Quotation { source, destination, transport: quoted, .. } = quotation;
        // The quoted packet went the other way.
        let other = match event.direction {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
        };
        let ends = ends(other, source, destination, &quoted);
        if event.direction == Direction::Egress && packet.destination != ends.remote {
            return None;
        }
        let flow = self.flows.iter().find(|flow| flow.pod == event.pod && flow.ends == ends)?;
        match flow.age(self.now) {
            Age::Unknown => Some(Answer::Open),
            Age::Dead => None,
            Age::Alive => {
                rules::allow(world, event.pod, flow.initiator, &ends).then_some(Answer::Pass)
            }
        }
    }

    /// Whether a packet that a pod sends has the ends of some flow.
    fn has_flow(&self, event: &Event, packet: &Packet) -> bool {
        let transport = packet.upper.as_ref().and_then(frame::transport);
        transport.is_some_and(|transport| {
            let ends = ends(event.direction, packet.source, packet.destination, &transport);
            self.flows.iter().any(|flow| flow.pod == event.pod && flow.ends == ends)
        })
    }

    /// Records a flow, in place of an older one with the same ends.
    fn record(&mut self, pod: usize, ends: Ends, initiator: Initiator) {
        self.flows.retain(|flow| flow.pod != pod || flow.ends != ends);
        self.flows.push(Flow {
            pod,
            ends,
            initiator,
            passed: self.now,
            initiator_sent: self.now,
            dropped: 0,
            is_denied: false,
            replied: false,
            confirmed: false,
            fins: [false; 2],
            reset: false,
        });
    }
}

/// The reason for which a pod may not send a packet, whatever its rules are (S32, S46).
fn may_not_send(pod: usize, packet: &Packet) -> Option<Answer> {
    let to_link = is_link_local(packet.destination) || is_link_group(packet.destination);
    if !pod_has(pod, packet.source) && !(is_link_local(packet.source) && to_link) {
        return Some(Answer::Drop("S46: a source that is not the pod's own"));
    }
    let Some(upper) = &packet.upper else { return Some(Answer::Open) };
    if packet.fragment.is_some_and(|fragment| !fragment.is_first) {
        return None;
    }
    let to_tunnel = upper.protocol == protocol::UDP
        && frame::transport(upper).is_some_and(|it| TUNNEL_PORTS.contains(&it.destination_port));
    if !to_tunnel && !is_tunnel(upper.protocol) {
        return None;
    }
    if !is_held("S46 ports") {
        let listed = listed(OWN_NODE, packet.destination)
            || listed(OTHER_NODE, packet.destination)
            || is_group(packet.destination);
        let six = frame::transport(upper).is_some_and(|it| it.destination_port == 6784);
        let differs = if to_tunnel {
            six || !listed && !is_pod(packet.destination)
        } else {
            is_pod(packet.destination)
        };
        if differs {
            return Some(Answer::Open);
        }
    }
    (!is_pod(packet.destination)).then_some(Answer::Drop("S46: a tunnel"))
}

/// IP in IP, IPv6 in IP, GRE.
fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Who sends a packet to a pod (S27, S37, S39).
fn sender(world: &World, event: &Event, source: IpAddr) -> Sender {
    if event.arrived_by == 0 && listed(OWN_NODE, source) {
        return Sender::Node;
    }
    let proven = |pod: &usize| {
        let by_bridge =
            world.pods[*pod].on_bridge && event.arrived_by == crate::addresses::BRIDGE;
        event.mark == slot(*pod) && (event.arrived_by == interface(*pod) || by_bridge)
    };
    (0..world.pods.len()).find(proven).map_or(Sender::Elsewhere, Sender::Pod)
}

/// Whether a packet belongs to a live flow with its ends (S27); `None` where that is open.
fn belongs(
    flow: &Flow,
    direction: Direction,
    transport: &Transport,
    sender: Sender,
) -> Option<bool> {
    let starts = match transport.kind {
        Kind::Opens => true,
        Kind::Request => !flow.is_initiators(direction),
        _ => false,
    };
    let recorded = match flow.initiator {
        Initiator::Remote(recorded) | Initiator::Either(Some(recorded)) => recorded,
        Initiator::Local | Initiator::Either(None) => sender,
    };
    if starts {
        return Some(false);
    }
    if direction == Direction::Ingress && recorded != sender {
        return is_held("S27 sender").then_some(false);
    }
    Some(true)
}

/// The ends of a connection, as the pod sees them.
fn ends(
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    transport: &Transport,
) -> Ends {
    let Transport { protocol, source_port, destination_port, .. } = *transport;
    match direction {
        Direction::Egress => Ends {
            local: source,
            remote: destination,
            local_port: source_port,
            remote_port: destination_port,
            protocol,
        },
        Direction::Ingress => Ends {
            local: destination,
            remote: source,
            local_port: destination_port,
            remote_port: source_port,
            protocol,
        },
    }
}
