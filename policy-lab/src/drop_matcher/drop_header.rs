//! The header fields of a drop record, in the types of user space.

use std::net::{IpAddr, Ipv6Addr};

use policy_common::{
    address::Address,
    drops::{Direction, DropRecord},
    protocol::{ETH_P_IP, ETH_P_IPV6},
};
use policy_core::model::Family;

/// The fields that identify the probe of a dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DropHeader {
    pub(super) protocol: u8,
    pub(super) family: Family,
    /// Source port of the packet: the probe's own port in its packets, the server's in responses.
    pub(super) source_port: u16,
    pub(super) addresses: [IpAddr; 2],
}

impl DropHeader {
    /// Returns `None` for a record that is neither of IPv4 nor of IPv6.
    pub(super) fn from_record(record: &DropRecord) -> Option<Self> {
        let family = match record.ether_type {
            ETH_P_IP => Family::Ipv4,
            ETH_P_IPV6 => Family::Ipv6,
            _ => return None,
        };
        Some(Self {
            protocol: record.protocol,
            family,
            // A record names the pod's end `local` in both directions.
            source_port: u16::from_be_bytes(if record.direction == Direction::Egress as u8 {
                record.local_port
            } else {
                record.remote_port
            }),
            addresses: [ip(record.local), ip(record.remote)],
        })
    }
}

/// The address of a record; IPv4 is stored as IPv4-mapped IPv6.
fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}
