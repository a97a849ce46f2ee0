//! A dropped packet in the cluster's terms: which pods it is from and to, and which policies denied
//! it.
//!
//! Input: a record of the kernel, and the node. The flow log and Events are written from the result,
//! so that both name the same policy and rule.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use policy_common::{
    drops::{DropRecord, Reason},
    protocol::{ETH_P_IP, ETH_P_IPV6},
};
use policy_core::{
    attribute::{Denial, PolicyDrop},
    model::{Direction, ObjectName, Pod, PolicyRef, Protocol, Snapshot},
};

use crate::node::Node;

/// A dropped packet.
#[derive(Clone, Debug)]
pub struct DroppedPacket<'a> {
    pub(super) record: &'a DropRecord,
    /// Name of the node.
    pub(super) node: &'a str,
    pub(super) snapshot: &'a Snapshot,
    /// The hook that dropped it.
    pub(super) direction: Direction,
    /// The pod that the packet was dropped at.
    pub(super) local: PacketEnd<'a>,
    pub(super) remote: PacketEnd<'a>,
    /// Who denied it; `None` where no policy did.
    pub(super) denial: Option<Denial>,
    /// Policies that isolate the pod in this direction.
    pub(super) isolating: &'a [PolicyRef],
}

/// One end of a packet; what the record does not have is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketEnd<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) pod: Option<(&'a ObjectName, &'a Pod)>,
}

impl<'a> DroppedPacket<'a> {
    /// Finds the pods at both ends, and attributes the drop.
    #[must_use]
    pub fn new(record: &'a DropRecord, node: &'a mut Node) -> Self {
        let direction = direction(record);
        let drop = policy_drop(record, direction);
        let denial = drop.and_then(|drop| node.attribute(&drop));
        let node: &'a Node = node;
        let (snapshot, attributor) = (node.snapshot(), node.attributor());
        let pod = |name: &ObjectName| snapshot.pods.get_key_value(name);
        let remote = address(record, record.remote);
        Self {
            record,
            node: node.name(),
            snapshot,
            direction,
            local: PacketEnd {
                address: address(record, record.local),
                port: port(record, record.local_port),
                pod: attributor.pod(record.ifindex).and_then(pod),
            },
            remote: PacketEnd {
                address: remote,
                port: port(record, record.remote_port),
                pod: remote.and_then(|address| node.owners().of(address)).and_then(pod),
            },
            denial,
            isolating: attributor.isolating(time(record), record.ifindex, direction),
        }
    }

    /// The policies that denied the packet, none where no policy did, and how many packets it stands
    /// for: itself, and those of the same sender before it that have no record.
    pub fn denied_by(&self) -> (impl Iterator<Item = &PolicyRef>, u64) {
        let by = self.denial.iter().flat_map(Denial::by);
        (by.map(|by| &by.policy), 1 + u64::from(self.record.withheld))
    }

    /// The hook that dropped it.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The policies that the packet was denied by, each with its rule; where no policy decided, those
    /// that isolate the pod.
    pub(super) fn policies(&self) -> Vec<(&PolicyRef, Option<usize>)> {
        match &self.denial {
            Some(denial) => denial.by().iter().map(|by| (&by.policy, by.rule)).collect(),
            None => self.isolating.iter().map(|policy| (policy, None)).collect(),
        }
    }

    /// Protocol and port that the connection was opened to, as far as rules depend on them.
    pub(super) fn destination_port(&self, direction: Direction) -> Option<(Protocol, u16)> {
        let protocol = known_protocol(self.record.protocol)?;
        let end = match direction {
            Direction::Ingress => &self.local,
            Direction::Egress => &self.remote,
        };
        Some((protocol, end.port?))
    }
}

/// What policies may have decided about; `None` for a packet that is not IP.
fn policy_drop(record: &DropRecord, direction: Direction) -> Option<PolicyDrop> {
    Some(PolicyDrop {
        time: time(record),
        ifindex: record.ifindex,
        direction,
        reason: Reason::from_number(record.reason)?,
        allow_map: record.allow_map,
        identity: record.identity,
        remote: address(record, record.remote)?,
        protocol: record.protocol,
        local_port: u16::from_be_bytes(record.local_port),
        remote_port: u16::from_be_bytes(record.remote_port),
    })
}

fn direction(record: &DropRecord) -> Direction {
    Direction::from_number(record.direction).unwrap_or(Direction::Ingress)
}

fn time(record: &DropRecord) -> Duration {
    Duration::from_nanos(record.time)
}

/// Whether the IP header was read: what was not parsed is zero, and no packet goes from the zero
/// address to the zero address.
pub(super) fn is_ip(record: &DropRecord) -> bool {
    matches!(record.ether_type, ETH_P_IP | ETH_P_IPV6)
        && (record.local, record.remote) != Default::default()
}

fn address(record: &DropRecord, address: policy_common::address::Address) -> Option<IpAddr> {
    is_ip(record).then(|| Ipv6Addr::from(address).to_canonical())
}

/// A port, where the packet's header was read: fragments and headers that are cut short have none,
/// and nobody sends from port 0 to port 0.
fn port(record: &DropRecord, port: [u8; 2]) -> Option<u16> {
    let were_read = (record.local_port, record.remote_port) != Default::default();
    (known_protocol(record.protocol).is_some() && were_read).then(|| u16::from_be_bytes(port))
}

/// The protocol with ports that has a number.
pub(super) fn known_protocol(number: u8) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|known| known.number() == number)
}
