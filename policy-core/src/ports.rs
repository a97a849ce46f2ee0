//! Sets of protocols and ports.
//!
//! Every set has one form only, so that `==` compares sets and equal allow maps are found by value:
//!
//! ```text
//! TCP 80-90, TCP 85-100, TCP 101     -> [TCP 80-101]       overlapping and adjacent ranges merge
//! everything without TCP 80          -> [TCP 0-79, TCP 81-65535, UDP 0-65535, SCTP 0-65535]
//!                                       and other_protocols
//! that, and TCP 80                   -> every_protocol     not three ranges and other_protocols
//! ```

use crate::model::Protocol;

/// A set of protocols and ports, in a form in which equal sets are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// Every protocol; the other fields are empty then.
    pub every_protocol: bool,
    /// Every protocol that has no name here, such as ICMP.
    pub other_protocols: bool,
    /// `(protocol, first, last)`: sorted, disjoint, not adjacent within a protocol.
    pub ranges: Vec<(Protocol, u16, u16)>,
}

/// Every port of every protocol that has ports.
const EVERY_PORT: [(Protocol, u16, u16); 3] =
    [(Protocol::Tcp, 0, u16::MAX), (Protocol::Udp, 0, u16::MAX), (Protocol::Sctp, 0, u16::MAX)];

impl Ports {
    /// Every protocol, ICMP included.
    #[must_use]
    pub fn everything() -> Self {
        Self { every_protocol: true, ..Self::default() }
    }

    /// A set of ranges, in any order, which may overlap; one with its last port below its first
    /// is empty.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (Protocol, u16, u16)>) -> Self {
        let mut all: Vec<_> = ranges.into_iter().filter(|(_, first, last)| first <= last).collect();
        all.sort_unstable();
        // Adjacent ranges merge too: 80-90 and 91-99 are the same ports as 80-99, and equal sets
        // must be equal values.
        let mut ranges: Vec<(Protocol, u16, u16)> = Vec::with_capacity(all.len());
        for (protocol, first, last) in all {
            match ranges.last_mut() {
                Some((before, _, end)) if *before == protocol && first <= end.saturating_add(1) => {
                    *end = last.max(*end);
                }
                _ => ranges.push((protocol, first, last)),
            }
        }
        Self { ranges, ..Self::default() }
    }

    /// What is in any of the sets.
    pub fn union<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut ranges, mut others) = (Vec::new(), false);
        for set in sets {
            if set.every_protocol {
                return Self::everything();
            }
            others |= set.other_protocols;
            ranges.extend_from_slice(&set.ranges);
        }
        Self::canonical(others, Self::from_ranges(ranges).ranges)
    }

    /// What is in this one and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        if other.every_protocol || self.is_empty() {
            return Self::default();
        }
        if other.is_empty() {
            return self.clone();
        }
        let whole: &[(Protocol, u16, u16)] = &EVERY_PORT;
        let mine = if self.every_protocol { whole } else { &self.ranges };
        let mut left = Vec::new();
        for &(protocol, first, last) in mine {
            // The first port that no hole has been compared with; past the last port there is none.
            // For 80-90 without 82-83 and 88-95:
            //   hole 82-83      80-81 is left, next is 84
            //   hole 88-95      84-87 is left, next is none: the hole reaches past 90
            let mut next = Some(first);
            let at = other.ranges.partition_point(|&(p, _, end)| (p, end) < (protocol, first));
            let holes = other.ranges[at..].iter();
            for &(_, start, end) in
                holes.take_while(|(p, start, _)| (*p, *start) <= (protocol, last))
            {
                if let Some(from) = next.filter(|from| *from < start) {
                    left.push((protocol, from, start - 1));
                }
                next = end.checked_add(1).filter(|after| *after <= last);
            }
            left.extend(next.map(|from| (protocol, from, last)));
        }
        let others = (self.every_protocol || self.other_protocols) && !other.other_protocols;
        Self::canonical(others, left)
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if self.every_protocol {
            return other.clone();
        }
        self.without(&self.without(other))
    }

    fn canonical(other_protocols: bool, ranges: Vec<(Protocol, u16, u16)>) -> Self {
        if other_protocols && ranges == EVERY_PORT {
            return Self::everything();
        }
        Self { every_protocol: false, other_protocols, ranges }
    }

    /// Whether a port of a protocol is in it.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        let at = self.ranges.partition_point(|&(p, first, _)| (p, first) <= (protocol, port));
        let before = at.checked_sub(1).and_then(|index| self.ranges.get(index));
        self.every_protocol || before.is_some_and(|&(p, _, last)| p == protocol && port <= last)
    }

    /// Whether protocols without ports, as ICMP, are in it.
    #[must_use]
    pub fn contains_other_protocols(&self) -> bool {
        self.every_protocol || self.other_protocols
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.every_protocol && !self.other_protocols && self.ranges.is_empty()
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

    #[test]
    fn subtraction_and_intersection() {
        let of = |ranges: &[(Protocol, u16, u16)]| Ports::from_ranges(ranges.iter().copied());
        let all = Ports::everything();
        #[rustfmt::skip]
        let cases = [
            ("nothing off is the same",     of(&[(Tcp, 5, 9)]),              Ports::default(),                of(&[(Tcp, 5, 9)])),
            ("all off is nothing",          all.clone(),                     all.clone(),                     Ports::default()),
            ("a hole leaves both sides",    of(&[(Tcp, 5, 9)]),              of(&[(Tcp, 7, 7)]),              of(&[(Tcp, 5, 6), (Tcp, 8, 9)])),
            ("the ends go",                 of(&[(Tcp, 5, 9)]),              of(&[(Tcp, 0, 5), (Tcp, 9, 20)]), of(&[(Tcp, 6, 8)])),
            ("another protocol stays",      of(&[(Tcp, 5, 9)]),              of(&[(Udp, 0, 65535)]),          of(&[(Tcp, 5, 9)])),
            ("up to the last port",         of(&[(Udp, 9, 65535)]),          of(&[(Udp, 10, 65535)]),         of(&[(Udp, 9, 9)])),
            ("one hole in two ranges",      of(&[(Tcp, 1, 3), (Tcp, 5, 8)]), of(&[(Tcp, 2, 6)]),              of(&[(Tcp, 1, 1), (Tcp, 7, 8)])),
        ];
        for (claim, from, off, want) in cases {
            assert_eq!(from.without(&off), want, "{claim}");
            assert_eq!(
                Ports::union([&want, &from.and(&off)]),
                from,
                "{claim}: the rest is in both"
            );
        }
    }

    #[test]
    fn what_has_no_ports_stays_when_ports_go() {
        let http = Ports::from_ranges([(Tcp, 80, 80)]);
        let rest = Ports::everything().without(&http);
        assert!(rest.other_protocols && !rest.every_protocol);
        assert!(!rest.contains(Tcp, 80) && rest.contains(Tcp, 81) && rest.contains(Sctp, 80));
        assert_eq!(Ports::union([&rest, &http]), Ports::everything());
        assert_eq!(rest.and(&http), Ports::default());
        assert_eq!(http.without(&rest), http);
    }
}
