//! Outside: the address space without the pods, as the blocks that policies name.
//!
//! Blocks may contain one another, and the longest one decides. A block whose ports differ from
//! those of the block around it is an entry of its own, and an exception of the outer entry; a block
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
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

use crate::{
    compile::{contains, is_covered},
    desired::{Desired, Identity, Ports},
    model::Family,
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

/// The entries of a family, where `ports` gives the ports for every pod and for some.
pub(super) fn outside(
    desired: &Desired,
    family: Family,
    ports: impl Fn(&Identity) -> (Ports, Ports),
) -> Vec<Outside> {
    let first = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let Ok(everything) = IpNetwork::new(first, 0) else { return Vec::new() };
    let entry = |block, (every, some)| Outside {
        region: Region { block, except: Vec::new() },
        every,
        some,
    };
    let of_everything = desired.blocks.get(&everything).unwrap_or(&None);
    let mut entries = vec![entry(everything, ports(of_everything))];
    let mut open = vec![Open { block: everything, entry: 0 }];
    // Sorted prefixes come outer before inner.
    let blocks = desired.blocks.iter();
    for (block, identity) in blocks.filter(|(block, _)| block.is_ipv4() == everything.is_ipv4()) {
        if *block == everything {
            continue;
        }
        while open.last().is_some_and(|outer| !contains(outer.block, *block)) {
            open.pop();
        }
        let Some(outer) = open.last().map(|outer| outer.entry) else { continue };
        let found = ports(identity);
        let same = entries[outer].every == found.0 && entries[outer].some == found.1;
        let of = if same { outer } else { entries.len() };
        if !same {
            entries[outer].region.except.push(*block);
            entries.push(entry(*block, found));
        }
        open.push(Open { block: *block, entry: of });
    }
    entries.retain(|one| !is_covered(one.region.block, &one.region.except));
    entries.retain(|one| !one.every.is_empty() || !one.some.is_empty());
    entries
}
