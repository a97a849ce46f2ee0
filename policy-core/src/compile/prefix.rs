//! Prefixes of addresses: containment, longest match, and where two tables differ.
//!
//! The tables are tries of the crate `prefix-trie`, which finds the longest match without a walk
//! over the prefixes in between:
//!
//! ```text
//! table 10.0.0.0/8, 10.1.0.0/16, 10.1.9.0/24      longest match of 10.1.200.1: 10.1.0.0/16
//! ```

pub(crate) mod sweep;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::{IpNetwork, Ipv4Network};
use prefix_trie::joint::{JointPrefixMap, JointPrefixSet};

use crate::model::{address_after, is_usable};

/// A longest-prefix table: a value holds for the addresses of which its prefix is the longest one.
/// It is read in the order of addresses, outer prefixes before inner ones.
pub type Prefixes<T> = JointPrefixMap<IpNetwork, T>;

/// 0.0.0.0/0.
pub(crate) const EVERY_IPV4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0)
{
    Some(block) => block,
    None => panic!("0 is a prefix length"),
};

/// The value of the longest prefix that contains an address or a block; that may be the block
/// itself.
pub(crate) fn longest_match<T>(prefixes: &Prefixes<T>, of: impl Into<IpNetwork>) -> Option<&T> {
    prefixes.get_lpm(&of.into()).map(|(_, value)| value)
}

/// Ranges of addresses, first and last, for which two tables have different values.
pub(crate) fn changed_ranges<T: PartialEq>(
    old: &Prefixes<T>,
    new: &Prefixes<T>,
) -> Vec<(IpAddr, IpAddr)> {
    let keys: BTreeSet<IpNetwork> = old.keys().chain(new.keys()).collect();
    let differs = |key: IpNetwork| longest_match(old, key) != longest_match(new, key);
    // A key decides only for its addresses outside of the keys inside of it. Those holes are cut out
    // of its range; they are compared by themselves.
    //   old 10.0.0.0/8: a, 10.1.0.0/16: b        new 10.0.0.0/8: c, 10.1.0.0/16: b
    //   10.0.0.0/8 differs     10.0.0.0 to 10.0.255.255, 10.2.0.0 to 10.255.255.255
    //   10.1.0.0/16 is equal   no range
    let mut ranges = Vec::new();
    for &key in keys.iter().filter(|key| differs(**key)) {
        // The first address of the key that is in no hole so far; `None` after the last address.
        let mut next = Some(key.network());
        let mut inside =
            keys.range(key..).skip(1).take_while(|one| contains(key, **one)).peekable();
        while let Some(hole) = inside.next() {
            // Keys inside of the hole lie in it anyway.
            while inside.next_if(|one| contains(*hole, **one)).is_some() {}
            if let Some(first) = next.filter(|first| *first < hole.network()) {
                ranges.extend(before(hole.network()).map(|last| (first, last)));
            }
            next = address_after(hole.broadcast());
        }
        let last = key.broadcast();
        ranges.extend(next.filter(|first| *first <= last).map(|first| (first, last)));
    }
    ranges
}

fn before(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_sub(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_sub(1)?).into(),
    })
}

/// The block with host bits of zero (S18).
pub(crate) fn masked(block: IpNetwork) -> IpNetwork {
    IpNetwork::new(block.network(), block.prefix()).unwrap_or(block)
}

/// Whether `outer` contains all of `inner`; never across families (S20).
pub(crate) fn contains(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

/// Whether excepts together hold all of a block, as 10.0.0.0/25 and 10.0.0.128/25 hold 10.0.0.0/24.
pub(crate) fn is_covered(block: IpNetwork, excepts: &[IpNetwork]) -> bool {
    let excepts: JointPrefixSet<IpNetwork> = excepts.iter().copied().collect();
    excepts.is_covered_in_aggregate(&block)
}

/// Whether all of a block is IPv4 written as IPv6. Such a block is in no map: no packet carries such an
/// address, and its key would mean IPv4.
#[must_use]
pub fn is_mapped(block: IpNetwork) -> bool {
    block.prefix() >= 96 && !is_usable(block.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        let blocks = ["10.0.0.0/8", "10.0.0.0/16", "10.0.5.0/24", "10.0.5.7/32", "fd00::/8"];
        let parse = |block: &str| block.parse::<IpNetwork>().expect("a block");
        let table: Prefixes<usize> = blocks.iter().map(|b| parse(b)).zip(0..).collect();
        #[rustfmt::skip]
        let cases = [
            ("10.0.5.7", Some(3)), ("10.0.5.8", Some(2)), ("10.0.6.0", Some(1)), ("10.1.0.0", Some(0)),
            ("11.0.0.0", None),    ("9.0.0.0", None),     ("fd00::1", Some(4)),  ("fc00::1", None),
        ];
        for (address, want) in cases {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(longest_match(&table, address).copied(), want, "{address}");
        }
    }

    #[test]
    fn excepts_cover_a_block_alone_or_together() {
        #[rustfmt::skip]
        let cases = [
            ("one around it",           "10.0.0.0/24", &["10.0.0.0/8"][..],                                  true),
            ("itself",                  "10.0.0.0/24", &["10.0.0.0/24"],                                     true),
            ("halves of all lengths",   "10.0.0.0/24", &["10.0.0.0/25", "10.0.0.128/26", "10.0.0.192/26"],   true),
            ("a quarter is left",       "10.0.0.0/24", &["10.0.0.0/25", "10.0.0.128/26"],                    false),
            ("overlapping ones",        "10.0.0.0/24", &["10.0.0.0/25", "10.0.0.0/26", "10.0.0.64/26"],      false),
            ("without any",             "10.0.0.0/24", &[],                                                  false),
            ("of the other family",     "10.0.0.0/24", &["::/0"],                                            false),
            ("a single address",        "10.0.0.1/32", &["10.0.0.0/31"],                                     true),
        ];
        for (claim, block, excepts, want) in cases {
            let parse = |block: &str| block.parse::<IpNetwork>().expect("a block");
            let excepts: Vec<IpNetwork> = excepts.iter().copied().map(parse).collect();
            assert_eq!(is_covered(parse(block), &excepts), want, "{claim}");
        }
    }
}
