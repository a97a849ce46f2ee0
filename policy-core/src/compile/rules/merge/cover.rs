//! The union of port sets of which some are chosen, while the choice changes step by step.

use crate::{model::Protocol, ports::Ports};

/// Sets of ports, of which some are chosen at a time.
///
/// A segment tree over places, which are the ranges of ports in which no set begins or ends. To
/// choose a set takes time that grows with the logarithm of the number of places, and to read the
/// union takes time that grows with the number of its ranges:
///
/// ```text
/// sets      a = 80-90, b = 85-443          places 0-79, 80-84, 85-90, 91-443, 444-65535
/// choose a  places 80-84 and 85-90 count 1
/// choose b  places 85-90 and 91-443 one more: the union is 80-443
/// drop a    85-90 still counts 1: the union is 85-443
/// ```
pub(super) struct Cover {
    /// By set, its ranges in places.
    sets: Vec<Vec<(usize, usize)>>,
    /// By set, whether it is everything.
    everything: Vec<bool>,
    /// How many of the chosen sets are everything.
    whole: usize,
    /// The first port of each place, and the end of the last; protocols follow one another.
    places: Vec<u32>,
    /// For each node of the tree how often it is chosen as a whole, and whether some place below
    /// it is chosen.
    nodes: Vec<(u32, bool)>,
}

/// The place of a port in the row of all protocols: TCP 80 is 80, UDP 80 is 65,616.
fn flat(protocol: Protocol, port: u16) -> u32 {
    let row = match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    };
    (row << 16) + u32::from(port)
}

impl Cover {
    /// None of the sets is chosen yet.
    pub(super) fn new<'a>(sets: impl Iterator<Item = &'a Ports> + Clone) -> Self {
        let ends = |set: &'a Ports| {
            let ranges = set.ranges.iter();
            ranges.map(|&(p, first, last)| (flat(p, first), flat(p, last) + 1))
        };
        // Every protocol starts a place, so that no place has ports of two protocols.
        let rows = Protocol::ALL.map(|protocol| flat(protocol, 0));
        let mut places: Vec<u32> =
            sets.clone().flat_map(ends).flat_map(|(first, end)| [first, end]).collect();
        places.extend(rows);
        places.push(flat(Protocol::Sctp, u16::MAX) + 1);
        places.sort_unstable();
        places.dedup();
        let at = |port: u32| places.partition_point(|place| *place < port);
        let ranges = |set| ends(set).map(|(first, end)| (at(first), at(end))).collect::<Vec<_>>();
        let of = sets.clone().map(ranges).collect();
        let everything = sets.map(|set| set.every_protocol).collect();
        // A segment tree over n places has fewer than 4n nodes; node 1 is the root, and the children
        // of node i are 2i and 2i + 1.
        let nodes = vec![(0, false); 4 * places.len()];
        Self { sets: of, everything, whole: 0, places, nodes }
    }

    /// Chooses a set.
    pub(super) fn add(&mut self, set: usize) {
        self.whole += usize::from(self.everything[set]);
        self.change(set, true);
    }

    /// Chooses a set no longer.
    pub(super) fn remove(&mut self, set: usize) {
        self.whole -= usize::from(self.everything[set]);
        self.change(set, false);
    }

    fn change(&mut self, set: usize, more: bool) {
        let all = (0, self.places.len() - 1);
        for index in 0..self.sets[set].len() {
            let range = self.sets[set][index];
            self.mark(1, all, range, more);
        }
    }

    /// Counts a range once more or once less below a node, which spans the places `here`.
    ///
    /// Of the places 0 to 3, the range 1 to 3 is marked at two nodes: the leaf 1, and the node above 2 and
    /// 3. A range is always split in the same way, so that removing it finds every count.
    fn mark(&mut self, node: usize, here: (usize, usize), range: (usize, usize), more: bool) {
        if range.1 <= here.0 || here.1 <= range.0 {
            return;
        }
        let leaf = here.1 - here.0 == 1;
        // A node inside of the range is chosen as a whole; its children are left as they are.
        if range.0 <= here.0 && here.1 <= range.1 {
            let count = &mut self.nodes[node].0;
            *count = if more { *count + 1 } else { *count - 1 };
        } else {
            let middle = usize::midpoint(here.0, here.1);
            self.mark(2 * node, (here.0, middle), range, more);
            self.mark(2 * node + 1, (middle, here.1), range, more);
        }
        // From the marked nodes up to the root, so that `collect` passes over what has no chosen place.
        let below = !leaf && (self.nodes[2 * node].1 || self.nodes[2 * node + 1].1);
        self.nodes[node].1 = self.nodes[node].0 > 0 || below;
    }

    /// The union of the chosen sets.
    pub(super) fn covered(&self) -> Ports {
        if self.whole > 0 {
            return Ports::everything();
        }
        let mut ranges = Vec::new();
        self.collect(1, (0, self.places.len() - 1), &mut ranges);
        Ports::from_ranges(ranges)
    }

    fn collect(&self, node: usize, here: (usize, usize), ranges: &mut Vec<(Protocol, u16, u16)>) {
        let (count, some) = self.nodes[node];
        if !some {
            return;
        }
        if count == 0 {
            let middle = usize::midpoint(here.0, here.1);
            self.collect(2 * node, (here.0, middle), ranges);
            self.collect(2 * node + 1, (middle, here.1), ranges);
            return;
        }
        let (first, last) = (self.places[here.0], self.places[here.1] - 1);
        for protocol in Protocol::ALL {
            let (low, high) = (flat(protocol, 0), flat(protocol, u16::MAX));
            if first <= high && low <= last {
                let port = |at: u32| u16::try_from(at - low).unwrap_or(u16::MAX);
                ranges.push((protocol, port(first.max(low)), port(last.min(high))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Sctp, Tcp, Udp};

    #[test]
    fn what_is_chosen_is_covered() {
        let sets = [
            Ports::from_ranges([(Tcp, 1, 10), (Udp, 5, 5)]),
            Ports::from_ranges([(Tcp, 5, 65535)]),
            Ports::from_ranges([(Tcp, 0, 0), (Udp, 0, 65535), (Sctp, 65535, 65535)]),
            Ports::everything(),
            Ports::default(),
        ];
        let mut cover = Cover::new(sets.iter());
        for chosen in 0..1_u32 << sets.len() {
            let is_chosen = |set: &usize| chosen >> set & 1 == 1;
            let all: Vec<usize> = (0..sets.len()).filter(is_chosen).collect();
            for set in &all {
                cover.add(*set);
            }
            let want = Ports::union(all.iter().map(|set| &sets[*set]));
            assert_eq!(cover.covered(), want, "{all:?}");
            for set in &all {
                cover.remove(*set);
            }
            assert!(cover.covered().is_empty(), "{all:?} are gone");
        }
    }
}
