//! The Internet: addresses that are routed there, and not those of private or special networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// Blocks of the Internet, the whole families as IANA allocates them.
#[rustfmt::skip]
const INTERNET: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    (IpAddr::V6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0)), 3), // RFC 4291
];

/// Blocks inside of them that are not routed on the Internet (IANA, special-purpose registries).
#[rustfmt::skip]
const SPECIAL: [(IpAddr, u8); 15] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),                                 // this network
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),                            // private
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),                         // shared by carriers
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),                           // loopback
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),                        // link-local
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),                         // private
    (IpAddr::V4(Ipv4Addr::new(192, 0, 0, 0)), 24),                          // protocols
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)), 24),                          // documentation
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),                        // private
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),                         // benchmarks
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)), 24),                       // documentation
    (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0)), 24),                        // documentation
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),                           // multicast
    (IpAddr::V4(Ipv4Addr::new(240, 0, 0, 0)), 4),                           // reserved
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)), 32),       // documentation
];

/// The blocks at which the Internet begins and ends.
pub(crate) fn boundaries() -> impl Iterator<Item = IpNetwork> {
    blocks(&INTERNET).chain(blocks(&SPECIAL))
}

/// Whether an address is one of the Internet.
pub(crate) fn contains(address: IpAddr) -> bool {
    blocks(&INTERNET).any(|block| block.contains(address))
        && !blocks(&SPECIAL).any(|block| block.contains(address))
}

/// The block of each family that holds all of the Internet.
pub(crate) fn families() -> impl Iterator<Item = IpNetwork> {
    blocks(&INTERNET)
}

fn blocks(all: &[(IpAddr, u8)]) -> impl Iterator<Item = IpNetwork> {
    all.iter().filter_map(|(at, length)| IpNetwork::new(*at, *length).ok())
}
