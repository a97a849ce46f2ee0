//! Outside: the address space without the pods, as the blocks that policies name.
//!
//! Blocks may contain one another, and the longest one decides. A block with other ports than
//! the block around it is an entry of its own, and an exception of the outer entry; a block
//! with the same ports is no entry:
//!
//! ```text
//! blocks that policies name       ports        entries
//! 0.0.0.0/0                       TCP 443      0.0.0.0/0 except 10.0.0.0/8: TCP 443
//! 10.0.0.0/8                      nothing
//! 10.1.0.0/16                     TCP 443      10.1.0.0/16: TCP 443
//! 203.0.113.0/24                  TCP 443
//! ```

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

use crate::{
    compile::{contains, is_covered, masked},
    desired::{Desired, Identity, Ports},
    model::{Family, address_after},
};

/// A block, without blocks inside of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// The block.
    pub block: IpNetwork,
    /// Blocks inside of it that do not belong to the region, none of which contains another.
    pub except: Vec<IpNetwork>,
}

/// What may be reached in a region, or from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The addresses.
    pub region: Region,
    /// Ports that are allowed for every pod of the group.
    pub every: Ports,
    /// Ports that are allowed for some of its pods only.
    pub some: Ports,
}

/// As an `ipBlock` would write it.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.block.fmt(f)?;
        let mut separator = " except ";
        for inner in &self.except {
            write!(f, "{separator}{inner}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// A block on the way from the outermost one to the current one.
struct Open {
    block: IpNetwork,
    /// Index of the entry that its addresses belong to.
    entry: usize,
}

/// The regions into which blocks split the addresses of both families: each block, and each whole
/// family, without the blocks inside of it. Host bits of the blocks are ignored (S18).
#[must_use]
pub fn regions(blocks: impl IntoIterator<Item = IpNetwork>) -> Vec<Region> {
    let blocks: BTreeSet<IpNetwork> = blocks.into_iter().map(masked).collect();
    let of_family = |family| {
        let whole = everything(family);
        let inside = blocks.iter().filter(move |block| block.is_ipv4() == whole.is_ipv4());
        // Every block has a value of its own, so that none counts as a part of the one around it.
        split(whole, whole, inside.map(|block| (*block, *block)))
    };
    Family::BOTH.into_iter().flat_map(of_family).map(|(region, _)| region).collect()
}

/// The block of all addresses of a family.
pub(super) fn everything(family: Family) -> IpNetwork {
    let first = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // Every family has blocks of length 0.
    IpNetwork::new(first, 0).unwrap_or(first.into())
}

/// The entries of a family, where `ports` gives the ports for every pod and for some.
pub(super) fn outside(
    desired: &Desired,
    family: Family,
    ports: impl Fn(&Identity) -> (Ports, Ports),
) -> Vec<Outside> {
    let whole = everything(family);
    let blocks = desired.blocks.iter();
    let blocks = blocks.filter(|(block, _)| block.is_ipv4() == whole.is_ipv4());
    let blocks = blocks.map(|(block, identity)| (block, ports(identity)));
    let entries = split(whole, ports(&None), blocks);
    let entries =
        entries.into_iter().map(|(region, (every, some))| Outside { region, every, some });
    entries.filter(|one| !one.every.is_empty() || !one.some.is_empty()).collect()
}

/// Splits a block into regions with different values: `blocks` are inside of it, sorted, so that an
/// outer block comes before the inner ones.
pub(super) fn split<V: PartialEq>(
    whole: IpNetwork,
    value: V,
    blocks: impl Iterator<Item = (IpNetwork, V)>,
) -> Vec<(Region, V)> {
    let entry = |block, value| (Region { block, except: Vec::new() }, value);
    let mut entries = vec![entry(whole, value)];
    let mut open = vec![Open { block: whole, entry: 0 }];
    for (block, found) in blocks {
        if block == whole {
            entries[0].1 = found;
            continue;
        }
        while open.last().is_some_and(|outer| !contains(outer.block, block)) {
            open.pop();
        }
        let Some(outer) = open.last().map(|outer| outer.entry) else { continue };
        // The exception belongs to the entry, not to the block around it. With x for 10.0.0.0/8 and
        // for 10.1.0.0/16, and y for 10.1.2.0/24:
        //   10.1.0.0/16   x as around it: no entry of its own
        //   10.1.2.0/24   an entry, and an exception of the entry 10.0.0.0/8
        let same = entries[outer].1 == found;
        let of = if same { outer } else { entries.len() };
        if !same {
            entries[outer].0.except.push(block);
            entries.push(entry(block, found));
        }
        open.push(Open { block, entry: of });
    }
    entries.retain(|(region, _)| !is_covered(region.block, &region.except));
    entries
}

impl Region {
    /// Whether an address is in the region.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.block.contains(address) && !self.except.iter().any(|inner| inner.contains(address))
    }

    /// The first address that is in the region and in none of `taken`.
    #[must_use]
    pub fn first_address(&self, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let mut address = self.block.network();
        let mut except = self.except.iter().peekable();
        loop {
            while except.peek().is_some_and(|block| block.broadcast() < address) {
                except.next();
            }
            address = match except.peek() {
                Some(block) if block.contains(address) => address_after(block.broadcast())?,
                _ if taken.contains(&address) => address_after(address)?,
                _ => break,
            };
        }
        self.block.contains(address).then_some(address)
    }
}
