//! Sets of protocols and ports.

use crate::model::Protocol;

/// A set of protocols and ports in its one canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// Every protocol; then `ranges` is empty.
    pub every_protocol: bool,
    /// `(protocol, first, last)`: sorted, disjoint, not adjacent within a protocol.
    pub ranges: Vec<(Protocol, u16, u16)>,
}

impl Ports {
    /// Every protocol, ICMP included.
    #[must_use]
    pub fn everything() -> Self {
        Self { every_protocol: true, ranges: Vec::new() }
    }

    /// Ranges in any order, overlapping or not; one whose last port is below its first is empty.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (Protocol, u16, u16)>) -> Self {
        let mut all: Vec<_> = ranges.into_iter().filter(|(_, first, last)| first <= last).collect();
        all.sort_unstable();
        let mut ranges: Vec<(Protocol, u16, u16)> = Vec::with_capacity(all.len());
        for (protocol, first, last) in all {
            match ranges.last_mut() {
                Some((before, _, end)) if *before == protocol && first <= end.saturating_add(1) => {
                    *end = last.max(*end);
                }
                _ => ranges.push((protocol, first, last)),
            }
        }
        Self { every_protocol: false, ranges }
    }

    /// What any of them holds.
    pub fn union<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut ranges = Vec::new();
        for set in sets {
            if set.every_protocol {
                return Self::everything();
            }
            ranges.extend_from_slice(&set.ranges);
        }
        Self::from_ranges(ranges)
    }

    /// Whether a port of a protocol is in it.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        let at = self.ranges.partition_point(|&(p, first, _)| (p, first) <= (protocol, port));
        let before = at.checked_sub(1).and_then(|index| self.ranges.get(index));
        self.every_protocol || before.is_some_and(|&(p, _, last)| p == protocol && port <= last)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.every_protocol && self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Sctp, Tcp, Udp};

    #[test]
    fn one_form_for_each_set() {
        #[rustfmt::skip]
        let cases: [(&str, Vec<_>, Vec<_>); 6] = [
            ("nothing stays nothing",         vec![],                                vec![]),
            ("order does not matter",         vec![(Udp, 5, 6), (Tcp, 1, 2)],        vec![(Tcp, 1, 2), (Udp, 5, 6)]),
            ("neighbours join",               vec![(Tcp, 1, 2), (Tcp, 3, 9)],        vec![(Tcp, 1, 9)]),
            ("what lies inside goes",         vec![(Tcp, 1, 100), (Tcp, 5, 6)],      vec![(Tcp, 1, 100)]),
            ("protocols stay apart",          vec![(Tcp, 0, 65535), (Sctp, 0, 1)],   vec![(Tcp, 0, 65535), (Sctp, 0, 1)]),
            ("a range backwards is empty",    vec![(Tcp, 9, 8)],                     vec![]),
        ];
        for (claim, given, want) in cases {
            assert_eq!(Ports::from_ranges(given).ranges, want, "{claim}");
        }
    }

    #[test]
    fn a_range_holds_both_of_its_ends() {
        let ports = Ports::from_ranges([(Tcp, 10, 20), (Tcp, 30, 30)]);
        for (port, want) in
            [(9, false), (10, true), (20, true), (21, false), (30, true), (31, false)]
        {
            assert_eq!(ports.contains(Tcp, port), want, "{port}");
        }
        assert!(!ports.contains(Udp, 10));
        assert!(Ports::everything().contains(Udp, 10));
    }
}
