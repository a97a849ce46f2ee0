//! Prefixes of addresses: containment, longest match, and where two tables differ.
//!
//! A table is a sorted map. Sorted prefixes come outer before inner, so that the longest match of
//! an address is found by a few range queries:
//!
//! ```text
//! table 10.0.0.0/8, 10.1.0.0/16, 10.1.9.0/24      longest match of 10.1.200.1?
//! last prefix not after 10.1.200.1/32: 10.1.9.0/24, does not contain it
//! both are in 10.1.0.0/16: last prefix not after that is 10.1.0.0/16, which contains it
//! ```

pub(crate) mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::model::{address_after, is_usable};

/// A longest-prefix table: a value holds for the addresses of which its prefix is the longest one.
pub(crate) type Prefixes<T> = BTreeMap<IpNetwork, T>;

/// 0.0.0.0/0.
pub(crate) const EVERY_IPV4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0)
{
    Some(block) => block,
    None => panic!("0 is a prefix length"),
};

/// The value of the longest prefix that contains an address.
pub(crate) fn longest_match<T>(prefixes: &Prefixes<T>, address: IpAddr) -> Option<&T> {
    longest_containing(prefixes, IpNetwork::from(address))
}

/// The value of the longest prefix that contains a block; that may be the block itself.
pub(crate) fn longest_containing<T>(prefixes: &Prefixes<T>, block: IpNetwork) -> Option<&T> {
    let mut within = block;
    loop {
        // Prefixes that contain `within` sort before it, the longest one last; but prefixes that do
        // not contain it may sort in between.
        let (&prefix, value) = prefixes.range(..=within).next_back()?;
        if contains(prefix, within) {
            return Some(value);
        }
        // Whatever contains the address and sorts before this prefix contains both.
        within = common(prefix, within)?;
    }
}

/// The smallest block around two; `None` across families.
fn common(a: IpNetwork, b: IpNetwork) -> Option<IpNetwork> {
    let length = a.prefix().min(b.prefix());
    match (a, b) {
        (IpNetwork::V4(a), IpNetwork::V4(b)) => {
            let same = (u32::from(a.network()) ^ u32::from(b.network())).leading_zeros();
            block_of(b.network().into(), length.min(u8::try_from(same).ok()?))
        }
        (IpNetwork::V6(a), IpNetwork::V6(b)) => {
            let same = (u128::from(a.network()) ^ u128::from(b.network())).leading_zeros();
            block_of(b.network().into(), length.min(u8::try_from(same).ok()?))
        }
        _ => None,
    }
}

fn block_of(address: IpAddr, length: u8) -> Option<IpNetwork> {
    IpNetwork::new(address, length).ok().map(masked)
}

/// Ranges of addresses, first and last, for which two tables have different values.
pub(crate) fn changed_ranges<T: PartialEq>(
    old: &Prefixes<T>,
    new: &Prefixes<T>,
) -> Vec<(IpAddr, IpAddr)> {
    let keys: BTreeSet<IpNetwork> = old.keys().chain(new.keys()).copied().collect();
    let differs = |key: IpNetwork| longest_containing(old, key) != longest_containing(new, key);
    // A key decides only for its addresses outside of the keys inside of it. Those holes are cut out
    // of its range; they are compared by themselves.
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

/// Whether excepts together hold all of a block.
///
/// A block that no single except holds is split into its halves, and each must be covered:
///
/// ```text
/// 10.0.0.0/24 except 10.0.0.0/25, 10.0.0.128/26, 10.0.0.192/26
///   10.0.0.0/25                  an except: covered
///   10.0.0.128/25                none holds it: split
///     10.0.0.128/26              an except: covered
///     10.0.0.192/26              an except: covered       so nothing is left of the block
/// ```
///
/// A half that holds at most one except is not split further: one smaller block never fills it.
pub(crate) fn is_covered(block: IpNetwork, excepts: &[IpNetwork]) -> bool {
    if excepts.iter().any(|except| contains(*except, block)) {
        return true;
    }
    let inside: Vec<IpNetwork> =
        excepts.iter().copied().filter(|except| contains(block, *except)).collect();
    inside.len() > 1
        && halves(block)
            .is_some_and(|halves| halves.into_iter().all(|half| is_covered(half, &inside)))
}

/// The lower and the upper half of a block; `None` for a single address.
fn halves(block: IpNetwork) -> Option<[IpNetwork; 2]> {
    let prefix = block.prefix().checked_add(1)?;
    let low = IpNetwork::new(block.network(), prefix).ok()?;
    let high = IpNetwork::new(block.broadcast(), prefix).ok()?;
    Some([low, masked(high)])
}

/// Whether all of a block is IPv4 written as IPv6: no packet carries such an address.
pub(crate) fn is_mapped(block: IpNetwork) -> bool {
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
            let address = address.parse().expect("an address");
            assert_eq!(longest_match(&table, address).copied(), want, "{address}");
        }
    }
}
