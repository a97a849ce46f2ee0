//! Blocks: which peer lists match the addresses around the pods (S18-S20).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::{
    lists::{ListId, Lists, SetId, Sets},
    meaning::PeerKey,
    rule::contains,
};

/// A longest-prefix table: each prefix says what holds for the addresses it is the longest for.
pub(crate) type Prefixes<T> = BTreeMap<IpNetwork, T>;

/// 0.0.0.0/0.
const EVERY_IPV4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0) {
    Some(block) => block,
    None => panic!("0 is a prefix length"),
};

/// What a prefix begins: blocks that start to match there, and blocks that cease to.
#[derive(Default)]
struct Edge {
    starts: Vec<usize>,
    ends: Vec<usize>,
}

/// The peer lists that match by block, by prefix. Every block and every except is a prefix.
pub(super) fn prefixes(lists: &Lists, sets: &mut Sets) -> Prefixes<SetId> {
    let mut edges: Prefixes<Edge> = BTreeMap::new();
    let mut lists_of: Vec<Vec<ListId>> = Vec::new();
    for (peer, ids) in lists.by_peer() {
        let PeerKey::Block { cidr, except } = peer else {
            continue;
        };
        let block = lists_of.len();
        lists_of.push(ids);
        // An except around the whole block leaves nothing of it.
        if except.iter().any(|outer| contains(*outer, *cidr)) {
            edges.entry(*cidr).or_default();
            continue;
        }
        edges.entry(*cidr).or_default().starts.push(block);
        for inner in except {
            edges.entry(*inner).or_default().ends.push(block);
        }
    }
    if edges.keys().any(IpNetwork::is_ipv6) {
        // The kernel holds IPv4 under ::ffff:0:0/96; an IPv6 block around that must not match it.
        edges.entry(IpNetwork::V4(EVERY_IPV4)).or_default();
    }
    // Sorted so, a prefix comes after all that contain it; the stack holds those.
    let mut open: Vec<(IpNetwork, Vec<usize>)> = Vec::new();
    let mut table = BTreeMap::new();
    for (prefix, edge) in edges {
        while open.last().is_some_and(|(outer, _)| !contains(*outer, prefix)) {
            open.pop();
        }
        let mut matching = open.last().map(|(_, blocks)| blocks.clone()).unwrap_or_default();
        matching.retain(|block| edge.ends.binary_search(block).is_err());
        matching.extend(edge.starts);
        let ids = matching.iter().flat_map(|&block| &lists_of[block]).copied().collect();
        table.insert(prefix, sets.intern(ids));
        open.push((prefix, matching));
    }
    table
}

/// What the longest prefix around an address says.
pub(crate) fn longest<T: Copy>(prefixes: &Prefixes<T>, address: IpAddr) -> Option<T> {
    longest_around(prefixes, IpNetwork::from(address))
}

/// What the longest prefix around a block says, itself included.
pub(crate) fn longest_around<T: Copy>(prefixes: &Prefixes<T>, block: IpNetwork) -> Option<T> {
    let mut within = block;
    loop {
        let (&prefix, &value) = prefixes.range(..=within).next_back()?;
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
    IpNetwork::new(address, length).ok().map(super::rule::masked)
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
            assert_eq!(longest(&table, address), want, "{address}");
        }
    }
}
