//! The pieces of a network: what each namespace of a lab is built from, and the numbers of interfaces.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use policy_agent::net::build::End;

use crate::blueprint::Machine;

/// How pods are joined to their node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// A routed veth per pod, as the `ptp` plugin makes it.
    #[default]
    Ptp,
    /// A bridge per node with the pods' veths as ports, as the `bridge` plugin makes it.
    Bridge,
}

/// Index of a machine's interface on the fabric, and of a pod's interface.
pub const UPLINK: u32 = 2;

/// Name of a machine's interface on the fabric.
pub const FABRIC_INTERFACE: &str = "eth0";

/// Index of a node's bridge.
pub(super) const BRIDGE: u32 = 3;

/// First index of the switch's ports; a node's veths of pods start at the index after it.
pub(super) const FIRST: u32 = 10;

/// A link, address, route or neighbour entry to create in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A veth pair to another machine.
    Veth {
        /// The end in this namespace.
        near: End,
        /// The end in the other machine's namespace.
        far: End,
        /// The other machine.
        to: Machine,
    },
    /// A bridge that is up.
    Bridge {
        /// Its index and name.
        bridge: End,
        /// Whether netfilter sees its IP frames.
        netfilter: bool,
    },
    /// Makes an interface a port of a bridge.
    BridgePort {
        /// The interface.
        index: u32,
        /// The bridge.
        bridge: u32,
        /// Whether the bridge may send a frame out of the port that it came in by.
        hairpin: bool,
    },
    /// Sets an interface up.
    Up(u32),
    /// Sets a hardware address; this comes before [`Self::Up`].
    HardwareAddress {
        /// The interface.
        index: u32,
        /// The address.
        hardware: [u8; 6],
    },
    /// A permanent neighbour entry.
    Neighbour {
        /// The interface.
        index: u32,
        /// The neighbour's address.
        address: IpAddr,
        /// The neighbour's hardware address.
        hardware: [u8; 6],
    },
    /// An address.
    Address {
        /// The interface.
        index: u32,
        /// The address.
        address: IpAddr,
        /// Prefix length of the subnet on the link.
        prefix: u8,
    },
    /// A route.
    Route {
        /// The destination.
        to: IpNetwork,
        /// The gateway; `None` where the destination is on the link.
        via: Option<IpAddr>,
        /// The interface.
        index: u32,
    },
}

/// The pieces of each namespace, in the order in which they are created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Pieces of the switch.
    pub fabric: Vec<Piece>,
    /// Pieces of each machine.
    pub machines: BTreeMap<Machine, Vec<Piece>>,
}

/// The block of all addresses of the family of `address`: the destination of a default route.
pub(super) fn default_destination(address: IpAddr) -> IpNetwork {
    let first = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNetwork::new(first, 0).expect("0 is a valid prefix length")
}
