//! Blocks: which peer lists match the addresses around the pods (S18-S20).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::{
    lists::{ListId, Lists},
    meaning::PeerKey,
    rule::contains,
    sets::{SetId, Sets},
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
    for (peer, ids) in lists.by_block() {
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
    let mut walk = Walk::new(&lists_of, lists.bound());
    edges.into_iter().map(|(prefix, edge)| (prefix, walk.enter(prefix, &edge, sets))).collect()
}

/// A walk over prefixes in their order, in which each comes after all that contain it.
struct Walk<'a> {
    lists_of: &'a [Vec<ListId>],
    /// The prefixes around the present place, each with its set and the blocks that it turned.
    open: Vec<(IpNetwork, SetId, Vec<usize>)>,
    /// Blocks that match here.
    matching: Vec<bool>,
    /// How many blocks of each list match here, and the lists that have some.
    counts: Vec<u32>,
    present: BTreeSet<ListId>,
}

impl<'a> Walk<'a> {
    fn new(lists_of: &'a [Vec<ListId>], lists: usize) -> Self {
        let (matching, counts) = (vec![false; lists_of.len()], vec![0; lists]);
        Self { lists_of, open: Vec::new(), matching, counts, present: BTreeSet::new() }
    }

    /// The lists that match the addresses for which `prefix` is the longest.
    fn enter(&mut self, prefix: IpNetwork, edge: &Edge, sets: &mut Sets) -> SetId {
        while let Some((_, _, turned)) = self.open.pop_if(|(outer, ..)| !contains(*outer, prefix)) {
            for block in turned {
                self.turn(block);
            }
        }
        let ended = edge.ends.iter().filter(|block| self.matching[**block]);
        let turned: Vec<usize> = ended.chain(&edge.starts).copied().collect();
        let mut changed = false;
        for &block in &turned {
            changed |= self.turn(block);
        }
        let set = match self.open.last() {
            Some((_, outer, _)) if !changed => *outer,
            _ => sets.intern(self.present.iter().copied().collect()),
        };
        self.open.push((prefix, set, turned));
        set
    }

    /// Lets a block match, or no longer; tells whether some list does now, or no longer does.
    fn turn(&mut self, block: usize) -> bool {
        let matches = !self.matching[block];
        self.matching[block] = matches;
        let mut changed = false;
        for &list in &self.lists_of[block] {
            let count = &mut self.counts[list as usize];
            *count = if matches { *count + 1 } else { *count - 1 };
            changed |= match (*count, matches) {
                (1, true) => self.present.insert(list),
                (0, false) => self.present.remove(&list),
                _ => false,
            };
        }
        changed
    }
}

/// What the longest prefix around an address says.
pub(crate) fn longest<T>(prefixes: &Prefixes<T>, address: IpAddr) -> Option<&T> {
    longest_around(prefixes, IpNetwork::from(address))
}

/// What the longest prefix around a block says, itself included.
pub(crate) fn longest_around<T>(prefixes: &Prefixes<T>, block: IpNetwork) -> Option<&T> {
    let mut within = block;
    loop {
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
    IpNetwork::new(address, length).ok().map(super::rule::masked)
}

/// Ranges of addresses, first and last, for which the one table says something else than the other.
pub(super) fn turned<T, U: PartialEq>(
    old: &Prefixes<(U, T)>,
    new: &Prefixes<U>,
) -> Vec<(IpAddr, IpAddr)> {
    let keys: BTreeSet<IpNetwork> = old.keys().chain(new.keys()).copied().collect();
    let differs = |key: IpNetwork| {
        longest_around(old, key).map(|(value, _)| value) != longest_around(new, key)
    };
    let mut ranges = Vec::new();
    for &key in keys.iter().filter(|key| differs(**key)) {
        // Prefixes inside say for themselves whether they differ.
        let mut next = Some(key.network());
        let mut inside =
            keys.range(key..).skip(1).take_while(|one| contains(key, **one)).peekable();
        while let Some(hole) = inside.next() {
            while inside.next_if(|one| contains(*hole, **one)).is_some() {}
            if let Some(first) = next.filter(|first| *first < hole.network()) {
                ranges.extend(before(hole.network()).map(|last| (first, last)));
            }
            next = after(hole.broadcast());
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

fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
    })
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
            assert_eq!(longest(&table, address).copied(), want, "{address}");
        }
    }
}
