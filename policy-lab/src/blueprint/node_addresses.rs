//! Addresses for nodes that have none in the manifests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_core::model::Family;

/// Allocates addresses of the blocks that are reserved for benchmarks of network devices:
/// `198.18.0.0/15` (RFC 2544) and `2001:2::/48` (RFC 5180).
///
/// Policies are unlikely to select these blocks.
#[derive(Debug, Default)]
pub(super) struct NodeAddresses {
    v4: u32,
    v6: u32,
}

impl NodeAddresses {
    /// Returns the next free address of a family.
    pub(super) fn next(&mut self, family: Family, taken: impl Fn(IpAddr) -> bool) -> IpAddr {
        loop {
            let address = match family {
                Family::Ipv4 => {
                    self.v4 += 1;
                    IpAddr::V4(Ipv4Addr::from_bits(
                        Ipv4Addr::new(198, 18, 0, 0).to_bits() + self.v4,
                    ))
                }
                Family::Ipv6 => {
                    self.v6 += 1;
                    IpAddr::V6(Ipv6Addr::from_bits(
                        Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(self.v6),
                    ))
                }
            };
            if !taken(address) {
                return address;
            }
        }
    }
}
