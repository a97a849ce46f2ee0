//! Blocks: which peer lists match the addresses around the pods (S18-S20).

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::compile::{
    peers::{
        lists::{ListId, Lists},
        sets::{SetId, Sets},
    },
    prefix::{Prefixes, contains},
    rules::peer_list::PeerKey,
};

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
pub(crate) fn prefixes(lists: &Lists, sets: &mut Sets) -> Prefixes<SetId> {
    let mut edges: Prefixes<Edge> = Prefixes::new();
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
