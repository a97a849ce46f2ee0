//! The packets that are measured, and the keys of their flows.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use policy_common::{
    address::{Address, mapped},
    drops::Direction,
    flow::{FlowKey4, FlowKey6},
    protocol::{TCP, UDP},
};

use crate::{node::IFINDEX, programs::Packet};

/// The addresses of an end in both families.
pub(crate) type Host = [&'static str; 2];

pub(crate) const POD: Host = ["10.244.0.10", "fd00:10:244::10"];
/// The far end that a rule allows.
pub(crate) const FRIEND: Host = ["10.244.1.20", "fd00:10:244:1::20"];
/// A far end that no rule allows.
pub(crate) const STRANGER: Host = ["10.244.2.30", "fd00:10:244:2::30"];

/// Port of the pod.
const LOCAL_PORT: u16 = 40_000;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PAYLOAD: &[u8; 22] = b"sixty-four bytes a UDP";

/// Address family; the index into a [`Host`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4 = 0,
    V6 = 1,
}

/// A connection between the pod and a far end.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) family: Family,
    pub(crate) protocol: u8,
    pub(crate) remote: Host,
    /// Port of the far end.
    pub(crate) port: u16,
}

/// What a TCP packet does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    SynAck,
    /// An ACK with data; also any packet of UDP.
    Data,
}

impl Connection {
    /// A packet of the connection.
    pub(crate) fn packet(&self, direction: Direction, kind: Kind) -> Packet {
        let at = self.family as usize;
        let (local, remote) = (octets(POD[at]), octets(self.remote[at]));
        let ends = match direction {
            Direction::Egress => ((local, LOCAL_PORT), (remote, self.port)),
            Direction::Ingress => ((remote, self.port), (local, LOCAL_PORT)),
        };
        let ((source, source_port), (destination, destination_port)) = ends;
        let ethernet = PacketBuilder::ethernet2(MAC, MAC);
        let ip = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ethernet.ipv4(source.octets(), destination.octets(), 64)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ethernet.ipv6(source.octets(), destination.octets(), 64)
            }
            _ => unreachable!("both addresses have the index of one family"),
        };
        let mut frame = Vec::new();
        if self.protocol == TCP {
            let tcp = ip.tcp(source_port, destination_port, 1, 1024);
            let tcp = match kind {
                Kind::Syn => tcp.syn(),
                Kind::SynAck => tcp.syn().ack(1),
                Kind::Data => tcp.psh().ack(1),
            };
            tcp.write(&mut frame, PAYLOAD).expect("a vector takes every byte");
        } else {
            let udp = ip.udp(source_port, destination_port);
            udp.write(&mut frame, PAYLOAD).expect("a vector takes every byte");
        }
        let ingress_ifindex = match direction {
            Direction::Egress => 0,
            Direction::Ingress => IFINDEX,
        };
        Packet { frame, ifindex: IFINDEX, ingress_ifindex }
    }

    /// The packets with which the pod opens the connection, up to its first data.
    pub(crate) fn opening(&self) -> Vec<(Direction, Packet)> {
        let kinds = match self.protocol {
            UDP => [Kind::Data; 3],
            _ => [Kind::Syn, Kind::SynAck, Kind::Data],
        };
        let ways = [Direction::Egress, Direction::Ingress, Direction::Egress];
        ways.into_iter().zip(kinds).map(|(way, kind)| (way, self.packet(way, kind))).collect()
    }

    /// The key of its flow.
    pub(crate) fn key(&self) -> Vec<u8> {
        let at = self.family as usize;
        let (local, remote) = (octets(POD[at]), octets(self.remote[at]));
        let (local_port, remote_port) = (LOCAL_PORT.to_be_bytes(), self.port.to_be_bytes());
        let (ifindex, protocol, pad) = (IFINDEX, self.protocol, [0; 3]);
        match (local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let (local, remote) = (local.octets(), remote.octets());
                let key =
                    FlowKey4 { ifindex, local, remote, local_port, remote_port, protocol, pad };
                [&key.ifindex.to_ne_bytes()[..], &key.local, &key.remote, &tail(&key)].concat()
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let (local, remote) = (local.octets(), remote.octets());
                let key =
                    FlowKey6 { ifindex, local, remote, local_port, remote_port, protocol, pad };
                [&key.ifindex.to_ne_bytes()[..], &key.local, &key.remote, &tail(&key)].concat()
            }
            _ => unreachable!("both addresses have the index of one family"),
        }
    }
}

/// Ports and protocol of a key, in its order.
fn tail<A>(key: &policy_common::flow::FlowKey<A>) -> [u8; 8] {
    let ([a, b], [c, d]) = (key.local_port, key.remote_port);
    [a, b, c, d, key.protocol, 0, 0, 0]
}

fn octets(address: &str) -> IpAddr {
    address.parse().expect("a constant address")
}

/// An address in the form of the maps.
pub(crate) fn address(text: &str) -> Address {
    match octets(text) {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}
