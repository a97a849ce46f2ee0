//! Connections: new ones, those of known flows, and ICMP errors about them (S27 to S31).

use std::net::IpAddr;

use super::flow::{Age, Flow, FlowEnds, Initiator, Sender, has_beginning, unreplied_life};
use super::frame::{self, Kind, Packet, Transport};
use super::source::{is_tunnel, may_have, sender};
use super::{Answer, Direction, Event, Model, rules};
use crate::addresses::{OTHER_NODE, OWN_NODE, is_group, listed};
use crate::world::World;

impl Model {
    /// Judges a packet that its pod may send or receive.
    pub(crate) fn judge_connection(
        &mut self,
        world: &World,
        event: &Event,
        packet: &Packet,
    ) -> Answer {
        let pod = &world.pods[event.pod];
        let sender = sender(world, event, packet.source);
        if let Some(answer) = self.later_fragment(world, event, packet, sender) {
            return answer;
        }
        let Some(transport) = packet.upper.as_ref().and_then(frame::transport) else {
            return if pod.is_isolated() { Answer::Drop("S34: unreadable") } else { Answer::Pass };
        };
        // Rules are about the last destination, which a source route hides.
        if packet.is_routed {
            return if pod.is_isolated() {
                Answer::Drop("S34: a source route")
            } else {
                Answer::Pass
            };
        }
        let answer = self.judge_transport(world, event, packet, transport, sender);
        self.remember_fragment(world, event, packet, answer);
        answer
    }

    fn judge_transport(
        &mut self,
        world: &World,
        event: &Event,
        packet: &Packet,
        transport: Transport,
        sender: Sender,
    ) -> Answer {
        let ends = ends(event.direction, packet.source, packet.destination, transport);
        // ICMP without an identifier belongs to no flow.
        let has_identity = !matches!(transport.kind, Kind::Error | Kind::Notice);
        if transport.kind == Kind::Error
            && let Some(answer) = self.judge_error(world, event, packet)
        {
            return answer;
        }
        let may_have = may_have(world, event.pod, &ends);
        let place = self.flows.iter().position(|flow| flow.pod == event.pod && flow.ends == ends);
        let alive = match place.map(|place| self.flows[place].age(self.now)) {
            Some(Age::Unknown) => return Answer::Open,
            Some(Age::Alive) => place,
            Some(Age::Dead) | None => None,
        };
        if let Some(place) = alive.filter(|_| has_identity && may_have) {
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
        transport: Transport,
        sender: Sender,
    ) -> Answer {
        let flow = &mut self.flows[place];
        if event.direction == Direction::Ingress {
            flow.answered_by = flow.answered_by.or(Some(sender));
        }
        let (ends, initiator) = (flow.ends, flow.initiator);
        if rules::allow(world, event.pod, initiator, &ends) {
            self.flows[place].pass(event.direction, transport, self.now);
            return Answer::Pass;
        }
        let revoked = Answer::Drop("S29: no longer allowed");
        let flow = &mut self.flows[place];
        flow.is_denied = true;
        let is_initiators = flow.is_initiators(event.direction);
        let silent = self.now - flow.initiator_sent;
        if is_initiators {
            flow.initiator_sent = self.now;
        }
        if is_initiators || has_beginning(ends.protocol) {
            return revoked;
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
        ends: FlowEnds,
        transport: Transport,
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
        // identifier, or of a tunnel; other replies the pod may not send.
        let has_replies = !is_group(ends.remote)
            && !is_group(ends.local)
            && !matches!(transport.kind, Kind::Error | Kind::Notice)
            && !is_tunnel(ends.protocol)
            && may_have(world, event.pod, &ends);
        let records = pod.is_isolated() || pod.tracking && !under_way;
        if has_replies && records {
            self.record(event.pod, ends, initiator);
        }
        Answer::Pass
    }

    /// Judges an ICMP error by the packet that it quotes (S31); `None` where that belongs to no
    /// flow.
    fn judge_error(&self, world: &World, event: &Event, packet: &Packet) -> Option<Answer> {
        let quotation = frame::quoted(packet.upper.as_ref()?)?;
        let frame::Quotation { source, destination, transport: quoted } = quotation;
        // The quoted packet went the other way.
        let other = match event.direction {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
        };
        let ends = ends(other, source, destination, quoted);
        if event.direction == Direction::Egress && packet.destination != ends.remote {
            return None;
        }
        if !may_have(world, event.pod, &ends) {
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

    /// Records a flow, in place of an older one with the same ends.
    fn record(&mut self, pod: usize, ends: FlowEnds, initiator: Initiator) {
        self.flows.retain(|flow| flow.pod != pod || flow.ends != ends);
        self.flows.push(Flow {
            pod,
            ends,
            initiator,
            passed: self.now,
            initiator_sent: self.now,
            answered_by: None,
            is_denied: false,
            replied: false,
            confirmed: false,
            fins: [false; 2],
            reset: false,
        });
    }
}

/// Whether a packet belongs to a live flow with its ends (S27); `None` where that is open.
fn belongs(
    flow: &Flow,
    direction: Direction,
    transport: Transport,
    sender: Sender,
) -> Option<bool> {
    let requests = transport.kind == Kind::Request && !flow.is_initiators(direction);
    let starts = transport.kind == Kind::Opens || requests;
    if starts {
        return Some(false);
    }
    if direction == Direction::Egress {
        return Some(true);
    }
    let is_node = listed(OWN_NODE, flow.ends.remote) || listed(OTHER_NODE, flow.ends.remote);
    match (flow.initiator, flow.answered_by) {
        (Initiator::Remote(recorded) | Initiator::Either(Some(recorded)), _) => {
            Some(recorded == sender)
        }
        (Initiator::Either(None), _) if sender != Sender::Elsewhere => None,
        (Initiator::Either(None), _) | (Initiator::Local, None) => Some(true),
        (Initiator::Local, Some(first)) if first == sender => Some(true),
        // Another backend may answer under a Service's address, but masqueraded senders share those
        // of nodes.
        (Initiator::Local, Some(_)) => is_node.then_some(false),
    }
}

/// The ends of a connection, as the pod sees them.
fn ends(
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    transport: Transport,
) -> FlowEnds {
    let Transport { protocol, source_port, destination_port, .. } = transport;
    match direction {
        Direction::Egress => FlowEnds {
            local: source,
            remote: destination,
            local_port: source_port,
            remote_port: destination_port,
            protocol,
        },
        Direction::Ingress => FlowEnds {
            local: destination,
            remote: source,
            local_port: destination_port,
            remote_port: source_port,
            protocol,
        },
    }
}
