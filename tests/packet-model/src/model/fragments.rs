//! Fragments: later ones follow their first (S33).

use std::net::IpAddr;

use super::flow::Sender;
use super::frame::{Fragment, Packet};
use super::rules::own_address;
use super::{Answer, Direction, Event, Model};
use crate::addresses::{OWN_NODE, SERVICES, ip, listed};
use crate::world::{World, allows_every_port};

/// The verdict on a first fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FragmentVerdict {
    datagram: Datagram,
    answer: Answer,
}

/// What the fragments of one datagram share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Datagram {
    pod: usize,
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// Zero in IPv6, where the upper layer is not part of the key (RFC 8200, 4.5).
    protocol: u8,
}

impl Model {
    /// Judges a later fragment; `None` for any other packet.
    pub(crate) fn later_fragment(
        &self,
        world: &World,
        event: &Event,
        packet: &Packet,
        sender: Sender,
    ) -> Option<Answer> {
        let fragment = packet.fragment?;
        if event.arrived_by == 0 && listed(OWN_NODE, packet.source) {
            // Whether a fragment with a node's address is the node's own is not for one packet to
            // prove (S33, S37).
            return Some(Answer::Open);
        }
        if fragment.is_first {
            return None;
        }
        let datagram = datagram(event, packet, fragment);
        if let Some(first) = self.fragments.iter().find(|first| first.datagram == datagram) {
            return Some(first.answer);
        }
        let pod = &world.pods[event.pod];
        let policy = match event.direction {
            Direction::Egress => pod.egress,
            Direction::Ingress => pod.ingress,
        };
        let Some(policy) = policy else { return Some(Answer::Pass) };
        let Some(upper) = &packet.upper else { return Some(Answer::Drop("S34: unreadable")) };
        let peer = match event.direction {
            Direction::Egress => packet.destination,
            Direction::Ingress => own_address(Some(sender), packet.source),
        };
        let is_service = SERVICES.iter().any(|one| one.addresses.iter().any(|own| ip(own) == peer));
        if event.direction == Direction::Egress && is_service {
            return Some(Answer::Open);
        }
        let own = event.direction == Direction::Ingress && sender == Sender::Pod(event.pod);
        Some(if own || allows_every_port(&world.policies[policy], peer, upper.protocol) {
            Answer::Pass
        } else {
            Answer::Drop("S33: a fragment without its first")
        })
    }

    /// Remembers the verdict on a first fragment.
    pub(crate) fn remember_fragment(&mut self, event: &Event, packet: &Packet, answer: Answer) {
        let Some(fragment) = packet.fragment else { return };
        let datagram = datagram(event, packet, fragment);
        self.fragments.retain(|first| first.datagram != datagram);
        self.fragments.push(FragmentVerdict { datagram, answer });
    }
}

fn datagram(event: &Event, packet: &Packet, fragment: Fragment) -> Datagram {
    let protocol = packet.upper.as_ref().map_or(0, |upper| upper.protocol);
    Datagram {
        pod: event.pod,
        direction: event.direction,
        source: packet.source,
        destination: packet.destination,
        identification: fragment.identification,
        protocol: if packet.source.is_ipv4() { protocol } else { 0 },
    }
}
