//! A sweep over prefixes: which blocks match where, without asking each block for each prefix.
//!
//! Sorted prefixes come outer before inner, so that one pass with a stack of open prefixes visits
//! all of them. A block starts to match at its own prefix, ceases to match at each of its excepts,
//! and everything that a prefix turned is turned back where the prefix ends:
//!
//! ```text
//! block a = 10.0.0.0/8 except 10.1.0.0/16      block b = 10.1.2.0/24
//! enter 10.0.0.0/8     a starts                matching: a
//! enter 10.1.0.0/16    a ceases                matching: none
//! enter 10.1.2.0/24    b starts                matching: b
//! leave 10.1.2.0/24    b is turned back, then 10.1.0.0/16 is left: a matches again
//! ```
//!
//! The cost grows with the number of prefixes and turns, not with blocks times prefixes.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use super::contains;

/// Who follows a sweep.
pub(crate) trait SweepVisitor {
    /// A block starts to match here, or ceases to.
    fn turn(&mut self, block: usize, matches: bool);

    /// A prefix begins; all that it turns was turned.
    fn enter(&mut self, prefix: IpNetwork);

    /// The innermost prefix ends; all that it turned was turned back.
    fn leave(&mut self);
}

/// The blocks to sweep over.
#[derive(Default)]
pub(crate) struct Sweep {
    // Nothing is looked up here: the edges are collected once and visited once, in order.
    // Its order is that of the first addresses, and of the shorter prefix where they are equal: an
    // outer prefix comes before all that it contains, and IPv4 before IPv6.
    edges: BTreeMap<IpNetwork, Edge>,
    blocks: usize,
}

/// What a prefix turns: blocks that start to match there, and blocks that cease to.
#[derive(Default)]
struct Edge {
    starts: Vec<usize>,
    ends: Vec<usize>,
}

/// A prefix that was entered and not left yet, with the blocks that it turned.
type EnteredPrefix = (IpNetwork, Vec<usize>);

impl Sweep {
    /// Adds a block; blocks have numbers from 0 in the order in which they are added.
    pub(crate) fn add_block(&mut self, cidr: IpNetwork, except: &BTreeSet<IpNetwork>) {
        let block = self.blocks;
        self.blocks += 1;
        self.add_prefix(cidr);
        // An except around the whole block leaves nothing of it.
        if except.iter().any(|outer| contains(*outer, cidr)) {
            return;
        }
        self.edges.entry(cidr).or_default().starts.push(block);
        for inner in except {
            self.edges.entry(*inner).or_default().ends.push(block);
        }
    }

    /// Adds a prefix at which no block starts or ends.
    pub(crate) fn add_prefix(&mut self, prefix: IpNetwork) {
        self.edges.entry(prefix).or_default();
    }

    /// Whether some prefix is one of IPv6.
    pub(crate) fn has_ipv6(&self) -> bool {
        self.edges.keys().next_back().is_some_and(IpNetwork::is_ipv6)
    }

    /// Visits every prefix in order.
    pub(crate) fn run(self, visitor: &mut impl SweepVisitor) {
        let mut matching = vec![false; self.blocks];
        let mut open: Vec<EnteredPrefix> = Vec::new();
        for (prefix, edge) in self.edges {
            leave(&mut open, Some(prefix), &mut matching, visitor);
            // An except of a block that an outer except ended already turns nothing.
            // If it were turned, leaving it would make the block match again inside of the outer
            // except:
            //   10.0.0.0/8 except 10.1.0.0/16 and 10.1.2.0/24: nothing is left to end at the latter
            let ended = edge.ends.into_iter().filter(|block| matching[*block]);
            let turned: Vec<usize> = ended.chain(edge.starts).collect();
            turn(&turned, &mut matching, visitor);
            visitor.enter(prefix);
            open.push((prefix, turned));
        }
        leave(&mut open, None, &mut matching, visitor);
    }
}

/// Leaves the open prefixes that do not contain the next one; without a next one, all.
fn leave(
    open: &mut Vec<EnteredPrefix>,
    next: Option<IpNetwork>,
    matching: &mut [bool],
    visitor: &mut impl SweepVisitor,
) {
    let ends = |(outer, _): &mut EnteredPrefix| next.is_none_or(|next| !contains(*outer, next));
    while let Some((_, turned)) = open.pop_if(ends) {
        turn(&turned, matching, visitor);
        visitor.leave();
    }
}

fn turn(blocks: &[usize], matching: &mut [bool], visitor: &mut impl SweepVisitor) {
    for &block in blocks {
        matching[block] = !matching[block];
        visitor.turn(block, matching[block]);
    }
}
