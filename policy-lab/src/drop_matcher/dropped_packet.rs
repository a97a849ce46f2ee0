//! Drop records in user space's types.

use std::net::{IpAddr, Ipv6Addr};

use policy_common::{
    address::Address,
    drops::{Direction, DropRecord},
};
use policy_core::model::Family;

/// What a record says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    pub(super) protocol: u8,
    pub(super) family: Family,
    /// Port that the packet comes from: a probe's own only in the direction of the probe, so that
    /// the drop of an answer is no denial.
    pub(super) source_port: u16,
    pub(super) addresses: [IpAddr; 2],
}

impl Tuple {
    /// `None` for a record that is of no family.
    pub(super) fn of(record: &DropRecord) -> Option<Self> {
        let family = match record.ether_type {
            0x0800 => Family::Ipv4,
            0x86dd => Family::Ipv6,
            _ => return None,
        };
        Some(Self {
            protocol: record.protocol,
            family,
            source_port: u16::from_be_bytes(if record.direction == Direction::Egress as u8 {
                record.local_port
            } else {
                record.remote_port
            }),
            addresses: [unmapped(record.local), unmapped(record.remote)],
        })
    }
}

fn unmapped(address: Address) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}
