//! Packets that are no conversation: ARP, neighbour discovery, MLD, tags, other EtherTypes.

use std::net::{IpAddr, Ipv6Addr};

use fastrand::Rng;

use super::{chance, mutate, one_of};
use crate::addresses::{GROUPS, ODD, PODS, UPLINK, interface, ip};
use crate::frames::{self, PacketEnds, Shape};
use crate::model::{Direction, Event};
use crate::protocol::{ICMPV6, UDP};

/// One such packet, at either hook.
pub(super) fn special(random: &mut Rng) -> Event {
    let pod = random.usize(..2);
    let mut frame = match random.u8(..10) {
        0..2 => arp(random),
        2..6 => neighbour(random),
        6..8 => mld(random),
        8 => tagged(random, pod),
        _ => frames::ether(one_of(random, &[0x88cc, 0x8847, 0x0000, 0x8864, 0x86dd]), &[0; 46]),
    };
    if chance(random, 10) {
        mutate::mutate(random, &mut frame);
    }
    if random.u8(..3) > 0 {
        event_at(pod, Direction::Egress, frame)
    } else {
        event_at(pod, Direction::Ingress, frame)
    }
}

fn event_at(pod: usize, direction: Direction, frame: Vec<u8>) -> Event {
    let arrived_by = if direction == Direction::Egress { interface(pod) } else { UPLINK };
    Event { pod, direction, arrived_by, mark: 0, frame }
}

fn arp(random: &mut Rng) -> Vec<u8> {
    let sender = one_of(random, &[PODS[0].v4, PODS[1].v4, "0.0.0.0", "10.244.0.1"]);
    match ip(sender) {
        IpAddr::V4(sender) => frames::arp(sender.octets()),
        IpAddr::V6(_) => frames::arp([0; 4]),
    }
}

/// Addresses that neighbour discovery may name, rightly or wrongly.
fn address(random: &mut Rng) -> Ipv6Addr {
    let list = [PODS[0].v6, PODS[1].v6, "fe80::1234", "fe80::1", "::", "2001:db8::7", "fd00::10"];
    let more: Vec<_> = list.iter().chain(GROUPS).chain(ODD).map(|one| ip(one)).collect();
    match one_of(random, &more) {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x10),
    }
}

fn neighbour(random: &mut Rng) -> Vec<u8> {
    let kind = one_of(random, &[133, 134, 135, 135, 135, 136, 136, 137]);
    let target = address(random);
    let destination = if chance(random, 20) { target } else { address(random) };
    let (source, destination) = (address(random).into(), destination.into());
    let ends =
        PacketEnds { source, destination, source_port: 0, destination_port: 0, protocol: ICMPV6 };
    let hops = if chance(random, 90) { 255 } else { 64 };
    let extensions = if chance(random, 10) { vec![60] } else { Vec::new() };
    let shape = Shape { hops, extensions, ..Shape::PLAIN };
    frames::ip(&ends, &shape, &frames::neighbour(kind, target.octets()))
}

fn mld(random: &mut Rng) -> Vec<u8> {
    let kind = one_of(random, &[130, 131, 132, 143]);
    let source = one_of(random, &["fe80::1234", "::", PODS[0].v6, PODS[1].v6]);
    let destination = one_of(random, &["ff02::16", "ff02::1", "ff05::1", "fe80::1"]);
    let ends = PacketEnds {
        source: ip(source),
        destination: ip(destination),
        source_port: 0,
        destination_port: 0,
        protocol: ICMPV6,
    };
    let hops = if chance(random, 90) { 1 } else { 2 };
    let extensions = if chance(random, 80) { vec![0] } else { Vec::new() };
    let shape = Shape { hops, extensions, ..Shape::PLAIN };
    frames::ip(&ends, &shape, &[&[kind, 0, 0, 0, 0, 0, 0, 0][..], &[0; 16]].concat())
}

fn tagged(random: &mut Rng, pod: usize) -> Vec<u8> {
    let ends = PacketEnds {
        source: ip(PODS[pod].v4),
        destination: ip(PODS[3].v4),
        source_port: 40_000,
        destination_port: 80,
        protocol: UDP,
    };
    let frame = frames::ip(&ends, &Shape::PLAIN, &frames::transport(&ends, 0, 8));
    if random.bool() { frames::tagged(&frame) } else { frames::tagged(&frames::tagged(&frame)) }
}
