//! Fragments: later ones follow their first (S33).

use std::net::IpAddr;

use super::flow::Sender;
use super::frame::{Fragment, Packet};
use super::rules::own_address;
use super::{Answer, Direction, Event, Model};
use crate::addresses::{SERVICES, ip};
use crate::world::{World, allows_every_port};

/// A datagram of which the first fragment passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstFragment {
    datagram: Datagram,
    /// When it passed, seconds.
    passed: u64,
    /// It is the last one of its pod, for which there is surely space.
    is_last: bool,
}

/// What the fragments of one datagram share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Datagram {
    pod: usize,
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
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
        let (fragment, upper) = (packet.fragment?, packet.upper.as_ref()?);
        if event.arrived_by == 0 && sender == Sender::Node {
            // Whether a fragment with a node's address is the node's own is not for one packet to
            // prove (S33, S37).
            return Some(Answer::Open);
        }
        if fragment.is_first {
            return None;
        }
        let datagram = datagram(event, packet, fragment);
        let first = self.fragments.iter().find(|first| first.datagram == datagram);
        if let Some(first) = first {
            // How long it is remembered, and how many are, is not the contract's matter.
            let is_sure = first.is_last && first.passed == self.now;
            return Some(if is_sure { Answer::Pass } else { Answer::Open });
        }
        let pod = &world.pods[event.pod];
        let policy = match event.direction {
            Direction::Egress => pod.egress,
            Direction::Ingress => pod.ingress,
        };
        let Some(policy) = policy else { return Some(Answer::Pass) };
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

    /// Remembers a datagram of which the first fragment passed at a pod that is under control.
    pub(crate) fn remember_fragment(
        &mut self,
        world: &World,
        event: &Event,
        packet: &Packet,
        answer: Answer,
    ) {
        let Some(fragment) = packet.fragment else { return };
        let pod = &world.pods[event.pod];
        let is_under_control = pod.is_isolated() || pod.tracking;
        let datagram = datagram(event, packet, fragment);
        if answer != Answer::Pass || !is_under_control {
            // It is open whether one that passed earlier still counts.
            let same = self.fragments.iter_mut().filter(|first| first.datagram == datagram);
            same.for_each(|first| first.is_last = false);
            return;
        }
        for first in self.fragments.iter_mut().filter(|one| one.datagram.pod == event.pod) {
            first.is_last = false;
        }
        self.fragments.retain(|first| first.datagram != datagram);
        self.fragments.push(FirstFragment { datagram, passed: self.now, is_last: true });
    }
}

fn datagram(event: &Event, packet: &Packet, fragment: Fragment) -> Datagram {
    Datagram {
        pod: event.pod,
        direction: event.direction,
        source: packet.source,
        destination: packet.destination,
        identification: fragment.identification,
        protocol: fragment.protocol,
    }
}
