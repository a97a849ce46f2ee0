//! Conversations: packets of both directions between the same two ends.

use std::net::IpAddr;

use fastrand::Rng;

use super::{chance, one_of};
use crate::addresses::{
    BRIDGE, GROUPS, ODD, OTHER_NODE, OUTSIDE, OWN_NODE, PODS, SERVICES, TUNNEL_PORTS,
    UNLISTED_NODE, UPLINK, interface, ip, slot,
};
use crate::frames::{self, PacketEnds, Shape, tcp};
use crate::model::{Direction, Event};
use crate::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Two ends that packets go between.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pod: usize,
    /// As the pod sends.
    ends: PacketEnds,
    /// `ingress_ifindex` and `tc_index` of packets to the pod.
    way: (u32, u32),
    sent: u32,
    identification: u32,
}

impl Conversation {
    /// A conversation of a pod with anybody.
    pub(super) fn new(random: &mut Rng) -> Self {
        let pod = random.usize(..2);
        let is_v6 = random.bool();
        let own = ip(if is_v6 { PODS[pod].v6 } else { PODS[pod].v4 });
        let (far, port) = far_end(random, is_v6);
        let protocol = match random.u8(..20) {
            0..7 => TCP,
            7..14 => UDP,
            14..16 => SCTP,
            16..18 => {
                if is_v6 {
                    ICMPV6
                } else {
                    ICMP
                }
            }
            18 => one_of(random, &[4, 41, 47]),
            _ => one_of(random, &[2, 50, 51, 59, 89, 103, 136]),
        };
        let small = [53, 80, 80, 443, 5000, 40_000, 40_001];
        let source_port = one_of(random, &small);
        let mut destination_port = port.unwrap_or_else(|| one_of(random, &small));
        if protocol == UDP && chance(random, 12) {
            destination_port = one_of(random, TUNNEL_PORTS);
        }
        let source = if chance(random, 3) { other_source(random, is_v6, own) } else { own };
        let ends = PacketEnds { source, destination: far, source_port, destination_port, protocol };
        let ends = if matches!(protocol, ICMP | ICMPV6) {
            // Identifiers that type and code of an error would look like, too.
            let identifier = one_of(random, &[7, 7, 0x0303, 0x0b00, 0x0100, 0]);
            PacketEnds { source_port: identifier, destination_port: identifier, ..ends }
        } else {
            ends
        };
        let way = way(random, pod, far);
        Self { pod, ends, way, sent: 0, identification: random.u32(1..9) }
    }

    /// The next packet, and what belongs to it: later fragments.
    pub(super) fn packets(&mut self, random: &mut Rng) -> Vec<Event> {
        self.sent += 1;
        let out = random.bool();
        let ends = if out { self.ends } else { self.ends.back() };
        if chance(random, 8) {
            self.way = way(random, self.pod, self.ends.destination);
        }
        if chance(random, 6) {
            return vec![self.error(random, out)];
        }
        let flags = self.flags(random, out);
        let length = one_of(random, &[0, 1, 8, 40, 200, 1400]);
        let payload = frames::transport(&ends, flags, length);
        let mut shape = Shape::PLAIN;
        if chance(random, 6) {
            shape.options = random.u8(1..10);
            shape.extensions =
                (0..random.usize(1..3)).map(|_| one_of(random, &[0, 43, 51, 60])).collect();
        }
        if chance(random, 8) && payload.len() >= 48 {
            return self.fragments(random, &ends, &shape, &payload, out);
        }
        vec![self.event(out, frames::ip(&ends, &shape, &payload))]
    }

    /// TCP flags, the chunk type of SCTP, or the ICMP type.
    fn flags(&self, random: &mut Rng, out: bool) -> u8 {
        match self.ends.protocol {
            TCP if self.sent == 1 && !chance(random, 20) => tcp::SYN,
            TCP => one_of(
                random,
                &[
                    tcp::SYN,
                    tcp::SYN | tcp::ACK,
                    tcp::SYN | tcp::ACK,
                    tcp::ACK,
                    tcp::ACK,
                    tcp::ACK,
                    tcp::FIN | tcp::ACK,
                    tcp::RST,
                    tcp::SYN | tcp::FIN,
                    0,
                ],
            ),
            SCTP if self.sent == 1 => 1,
            SCTP => one_of(random, &[0, 1, 2, 3, 10, 11]),
            ICMP if chance(random, 80) => u8::from(out) * 8,
            ICMP => one_of(random, &[0, 8, 3, 4, 5, 11, 12, 13, 14, 15, 16, 17, 18, 30]),
            ICMPV6 if chance(random, 80) => 129 - u8::from(out),
            ICMPV6 => one_of(random, &[1, 2, 3, 4, 128, 129, 127, 138, 144, 200]),
            _ => 0,
        }
    }

    /// An ICMP error about a packet of the conversation, from the far end or a router.
    fn error(&self, random: &mut Rng, out: bool) -> Event {
        let is_v6 = self.ends.source.is_ipv6();
        let (quoted, sender) = if out {
            (self.ends.back(), self.ends.source)
        } else {
            (self.ends, self.ends.destination)
        };
        let quoted = if chance(random, 10) { quoted.back() } else { quoted };
        let flags = self.flags(random, !out);
        let mut shape = Shape::PLAIN;
        if chance(random, 10) {
            shape.options = 1;
            shape.extensions = vec![60];
        }
        let quoted = frames::ip(&quoted, &shape, &frames::transport(&quoted, flags, 20));
        let router = ip(if is_v6 { "2001:db8::7" } else { "192.0.2.7" });
        let source = if !out && random.bool() { router } else { sender };
        let destination = match (out, chance(random, 10)) {
            (true, true) => router,
            (true, false) => self.ends.destination,
            (false, _) => self.ends.source,
        };
        let protocol = if is_v6 { ICMPV6 } else { ICMP };
        let kind = if is_v6 {
            one_of(random, &[1, 2, 3, 4, 100])
        } else {
            one_of(random, &[3, 11, 12, 4, 5])
        };
        let ends =
            PacketEnds { source, destination, source_port: 0, destination_port: 0, protocol };
        let body = frames::error(kind, &quoted);
        self.event(out, frames::ip(&ends, &Shape::PLAIN, &body))
    }

    /// The fragments of a datagram, in any order and sometimes not all.
    fn fragments(
        &mut self,
        random: &mut Rng,
        ends: &PacketEnds,
        shape: &Shape,
        payload: &[u8],
        out: bool,
    ) -> Vec<Event> {
        self.identification += 1;
        let size = one_of(random, &[24, 32, 104, 1208]);
        let count = payload.len().div_ceil(size);
        let mut events: Vec<_> = payload
            .chunks(size)
            .enumerate()
            .take(4)
            .map(|(number, part)| {
                let offset = u16::try_from(number * size).unwrap_or(u16::MAX);
                let fragment = Some((self.identification, offset, number + 1 < count));
                let shape = Shape { fragment, ..shape.clone() };
                self.event(out, frames::ip(ends, &shape, part))
            })
            .collect();
        if chance(random, 30) {
            random.shuffle(&mut events);
        }
        if chance(random, 10) && events.len() > 1 {
            events.remove(0);
        }
        events
    }

    fn event(&self, out: bool, frame: Vec<u8>) -> Event {
        let (direction, (arrived_by, mark)) = if out {
            (Direction::Egress, (interface(self.pod), 0))
        } else {
            (Direction::Ingress, self.way)
        };
        Event { pod: self.pod, direction, arrived_by, mark, frame }
    }
}

/// The far end of a conversation, and its port where it has a fixed one.
fn far_end(random: &mut Rng, is_v6: bool) -> (IpAddr, Option<u16>) {
    let of_family = |list: &[&'static str]| -> Vec<IpAddr> {
        list.iter().map(|one| ip(one)).filter(|one| one.is_ipv6() == is_v6).collect()
    };
    let list = match random.u8(..20) {
        0..8 => {
            let pod = PODS[random.usize(..PODS.len())];
            return (ip(if is_v6 { pod.v6 } else { pod.v4 }), None);
        }
        8..11 => {
            let service = SERVICES[random.usize(..SERVICES.len())];
            let port = if chance(random, 80) { Some(service.port) } else { None };
            return (ip(service.addresses[usize::from(is_v6)]), port);
        }
        11..14 => OWN_NODE,
        14 => OTHER_NODE,
        15 => UNLISTED_NODE,
        16 => GROUPS,
        17 if chance(random, 30) => ODD,
        _ => OUTSIDE,
    };
    (one_of(random, &of_family(list)), None)
}

/// A source that is not the pod's.
fn other_source(random: &mut Rng, is_v6: bool, own: IpAddr) -> IpAddr {
    let lists = [ODD, OWN_NODE, OUTSIDE, GROUPS];
    let list = one_of(random, &lists);
    let list: Vec<_> =
        list.iter().map(|one| ip(one)).filter(|one| one.is_ipv6() == is_v6).collect();
    if list.is_empty() { own } else { one_of(random, &list) }
}

/// How packets of a far end arrive: as they should, or as if they were somebody else's.
fn way(random: &mut Rng, pod: usize, far: IpAddr) -> (u32, u32) {
    let by_pod = |pod| (interface(pod), slot(pod));
    if chance(random, 8) {
        let interfaces = [0, interface(0), interface(1), BRIDGE, UPLINK];
        return (one_of(random, &interfaces), one_of(random, &[0, 1, 2, 9]));
    }
    if let Some(local) = (0..2).find(|one| crate::addresses::pod_has(*one, far)) {
        return by_pod(local);
    }
    if crate::addresses::listed(OWN_NODE, far) {
        return match random.u8(..10) {
            0..6 => (0, 0),
            6..8 => (UPLINK, 0),
            // Masqueraded: of the other pod, or of the pod itself through a Service.
            8 => by_pod(1 - pod),
            _ => by_pod(pod),
        };
    }
    (UPLINK, 0)
}
