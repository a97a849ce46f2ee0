//! The addresses of the world: few, so that packets of different steps meet the same flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol;

/// Addresses of a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodAddresses {
    /// IPv4.
    pub v4: &'static str,
    /// IPv6.
    pub v6: &'static str,
}

/// How many of [`PODS`] are on this node.
pub const LOCAL_PODS: usize = 2;

/// The pods of the cluster; the first [`LOCAL_PODS`] are on this node.
pub const PODS: [PodAddresses; 4] = [
    PodAddresses { v4: "10.244.0.10", v6: "fd00:10:244::10" },
    PodAddresses { v4: "10.244.0.11", v6: "fd00:10:244::11" },
    PodAddresses { v4: "10.244.1.10", v6: "fd00:10:244:1::10" },
    PodAddresses { v4: "10.244.1.11", v6: "fd00:10:244:1::11" },
];

/// Index of the host-side interface of a pod of this node.
#[must_use]
pub fn interface(pod: usize) -> u32 {
    [11, 12][pod]
}

/// Index of the bridge that interfaces of pods may be ports of.
pub const BRIDGE: u32 = 20;

/// Index of the node's interface to the other nodes.
pub const UPLINK: u32 = 30;

/// Slot of a pod of this node, which its program leaves in `tc_index`.
#[must_use]
pub fn slot(pod: usize) -> u32 {
    [1, 2][pod]
}

/// Addresses of this node: gateway, node network, and those of a mesh's probes (S37).
pub const OWN_NODE: &[&str] = &[
    "10.244.0.1",
    "192.168.111.10",
    "169.254.7.127",
    "fd00:10:244::1",
    "fd00::10",
    "fe80::1",
    "fd16:9254:7127:1337:ffff:ffff:ffff:ffff",
];

/// Addresses of another node that Node objects list.
pub const OTHER_NODE: &[&str] = &["192.168.111.11", "fd00::11"];

/// Addresses of another node that no Node object lists.
pub const UNLISTED_NODE: &[&str] = &["172.18.0.9", "fd99::9"];

/// Addresses outside the cluster.
pub const OUTSIDE: &[&str] =
    &["192.0.2.7", "198.51.100.8", "169.254.169.254", "2001:db8::7", "2001:db9::8"];

/// Groups and broadcast.
pub const GROUPS: &[&str] =
    &["224.0.0.251", "239.1.2.3", "255.255.255.255", "ff02::fb", "ff02::1", "ff05::fb"];

/// Addresses that no packet may have as its source, and link-local ones.
pub const ODD: &[&str] =
    &["0.0.0.0", "127.0.0.1", "10.244.0.99", "::", "::1", "fe80::1234", "::ffff:10.244.0.10"];

/// UDP ports of tunnels (S46).
pub const TUNNEL_PORTS: &[u16] = &[4789, 8472, 6081, 6784];

/// The Services of the cluster: with one backend, without any, and with two.
pub const SERVICES: &[Service] = &[
    Service {
        addresses: ["10.96.0.1", "fd00:10:96::1"],
        port: 443,
        protocol: protocol::TCP,
        backends: &[("10.244.1.10", "fd00:10:244:1::10", 80)],
    },
    Service {
        addresses: ["10.96.0.2", "fd00:10:96::2"],
        port: 80,
        protocol: protocol::TCP,
        backends: &[],
    },
    Service {
        addresses: ["10.96.0.3", "fd00:10:96::3"],
        port: 53,
        protocol: protocol::UDP,
        backends: &[("10.244.1.11", "fd00:10:244:1::11", 53), ("192.0.2.7", "2001:db8::7", 53)],
    },
];

/// A Service with one port.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its cluster IPs.
    pub addresses: [&'static str; 2],
    /// Its port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Ready backends: IPv4 address, IPv6 address, port.
    pub backends: &'static [(&'static str, &'static str, u16)],
}

/// A block of addresses that rules may name.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The first address.
    pub first: &'static str,
    /// Length of the prefix in bits.
    pub bits: u32,
    /// An address that is in this block and in no smaller one of [`BLOCKS`], nor a pod's.
    pub sample: &'static str,
}

/// The blocks that rules may name.
#[rustfmt::skip]
pub const BLOCKS: &[Block] = &[
    Block { first: "0.0.0.0",       bits: 0,  sample: "8.8.8.8" },
    Block { first: "10.0.0.0",      bits: 8,  sample: "10.1.1.1" },
    Block { first: "10.244.0.0",    bits: 16, sample: "10.244.77.77" },
    Block { first: "192.168.111.0", bits: 24, sample: "192.168.111.77" },
    Block { first: "192.0.2.0",     bits: 24, sample: "192.0.2.77" },
    Block { first: "224.0.0.0",     bits: 4,  sample: "230.1.1.1" },
    Block { first: "::",            bits: 0,  sample: "3000::1" },
    Block { first: "fd00::",        bits: 8,  sample: "fd77::1" },
    Block { first: "fd00:10:244::", bits: 48, sample: "fd00:10:244:77::1" },
    Block { first: "2001:db8::",    bits: 32, sample: "2001:db8:77::1" },
    Block { first: "ff00::",        bits: 8,  sample: "ff05::77" },
];

impl Block {
    /// The block with a number.
    #[must_use]
    pub fn numbered(number: usize) -> &'static Self {
        &BLOCKS[number]
    }

    /// Whether an address of the same family is in it (S20).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (ip(self.first), address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let shift = 32 - self.bits;
                u64::from(u32::from(first)) >> shift == u64::from(u32::from(address)) >> shift
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differ = u128::from(first) ^ u128::from(address);
                differ.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// The address that a text of this file stands for.
///
/// # Panics
///
/// If the text is no address.
#[must_use]
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

/// Whether a pod has an address.
#[must_use]
pub fn pod_has(pod: usize, address: IpAddr) -> bool {
    ip(PODS[pod].v4) == address || ip(PODS[pod].v6) == address
}

/// Whether an address is a pod's.
#[must_use]
pub fn is_pod(address: IpAddr) -> bool {
    (0..PODS.len()).any(|pod| pod_has(pod, address))
}

/// Whether an address is in a list of this file.
#[must_use]
pub fn listed(list: &[&str], address: IpAddr) -> bool {
    list.iter().any(|one| ip(one) == address)
}

/// Multicast of either family, or the IPv4 limited broadcast.
#[must_use]
pub fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address == Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// `fe80::/10`.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfe80)
}

/// Multicast that stays on the link, `ff02::/16` whatever its flags are.
#[must_use]
pub fn is_link_group(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[0] & 0xff0f == 0xff02)
}

/// `::`.
pub const UNSPECIFIED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
