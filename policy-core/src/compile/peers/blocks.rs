//! The table of blocks: which peer lists match the addresses that no pod has (S18-S20).

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::compile::{
    peers::sets::{ListSetId, ListSets},
    prefix::{
        EVERY_IPV4, Prefixes,
        sweep::{Sweep, SweepVisitor},
    },
    rules::{
        lists::{ListId, PeerLists},
        peer_list::PeerKey,
    },
};

/// The peer lists that match by a block, by longest prefix. Every block and every except is a
/// prefix of the table.
pub(super) fn matching(lists: &PeerLists, sets: &mut ListSets) -> Prefixes<ListSetId> {
    // A block that is in several lists is one block of the sweep.
    let mut blocks: BTreeMap<&PeerKey, Vec<ListId>> = BTreeMap::new();
    for (list, id) in lists.iter() {
        for block in list.blocks() {
            blocks.entry(block).or_default().push(id);
        }
    }
    let mut sweep = Sweep::default();
    let mut lists_of = Vec::new();
    for (block, lists) in blocks {
        if let PeerKey::Block { cidr, except } = block {
            sweep.add_block(*cidr, except);
            lists_of.push(lists);
        }
    }
    if sweep.has_ipv6() {
        // The kernel holds IPv4 under ::ffff:0:0/96; an IPv6 block around that must not match it.
        sweep.add_prefix(IpNetwork::V4(EVERY_IPV4));
    }
    // A list with several blocks at a place matches once: its blocks are counted.
    // With the list 1 of 10.0.0.0/8 except 10.1.0.0/16, of 10.1.2.0/24 and of 10.1.0.0/16:
    //   10.0.0.0/8      count 1     {1}
    //   10.1.0.0/16     count 1     {1}     one block of the list ends here, another one starts
    //   10.1.2.0/24     count 2     {1}     the set around, so that nothing is interned
    let counts = vec![0; lists.slots()];
    let (present, open, found) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut table = Table { lists_of, sets, counts, present, changed: false, open, found };
    sweep.run(&mut table);
    table.found.into_iter().collect()
}

/// The table as far as the sweep has come.
struct Table<'a> {
    /// The lists that a block is in.
    lists_of: Vec<Vec<ListId>>,
    sets: &'a mut ListSets,
    /// By slot of a list, how many of its blocks match here.
    counts: Vec<u32>,
    /// The lists of which some block matches here.
    present: BTreeSet<ListId>,
    /// Whether `present` changed since the last prefix was entered or left.
    changed: bool,
    /// The sets of the prefixes around this place.
    open: Vec<ListSetId>,
    found: Vec<(IpNetwork, ListSetId)>,
}

impl SweepVisitor for Table<'_> {
    fn turn(&mut self, block: usize, matches: bool) {
        for &list in &self.lists_of[block] {
            let count = &mut self.counts[list.slot()];
            *count = if matches { *count + 1 } else { *count - 1 };
            self.changed |= match (*count, matches) {
                (1, true) => self.present.insert(list),
                (0, false) => self.present.remove(&list),
                _ => false,
            };
        }
    }

    fn enter(&mut self, prefix: IpNetwork) {
        let set = match self.open.last() {
            // Most prefixes change nothing that an outer prefix has not changed already.
            Some(around) if !self.changed => *around,
            _ => self.sets.intern(self.present.iter().copied().collect()),
        };
        self.changed = false;
        self.open.push(set);
        self.found.push((prefix, set));
    }

    fn leave(&mut self) {
        // The turns that end here lead back to the set around.
        self.changed = false;
        self.open.pop();
    }
}
