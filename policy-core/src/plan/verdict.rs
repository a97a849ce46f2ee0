//! Whether a plan changes any verdict at an endpoint.
//!
//! Input: the allow maps before and after, and the pairs of look-up results before and after
//! ([`super::lookups`]). Output: the interfaces with an epoch to bump. A change of ids alone changes
//! no verdict and cuts no connection:
//!
//! ```text
//! old: 10.0.0.2 is 1, allow map {1: 80}     new: 10.0.0.2 is 2, allow map {2: 80}
//!      pair (1, 2): port 80 before and after             no bump
//! new: 10.0.0.2 is 2, allow map {2: 80, 443}
//!      pair (1, 2): port 80 before, 80 and 443 after     bump
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::{desired::ServiceBackends, model::Direction, ports::Ports};

use super::{
    endpoint::MatchedPod,
    entry::{self, Entries, Limit, limit_of, ports_of},
    indexed::{AllowMapIndex, Indexed},
    lookups::Lookup,
};

/// The allow maps and look-up results before and after a plan.
#[derive(Clone, Copy)]
pub(super) struct VerdictChanges<'a> {
    pub(super) desired: &'a Indexed<'a>,
    /// Allow maps of the kernel, by id.
    pub(super) old: &'a BTreeMap<u32, Entries>,
    /// Desired allow maps, by [`AllowMapIndex`].
    pub(super) new: &'a [Entries],
    /// Each distinct pair of results, before and after.
    pub(super) lookups: &'a BTreeSet<(Lookup, Lookup)>,
}

impl VerdictChanges<'_> {
    /// Interfaces of endpoints at which some address, port or frontend gets another verdict.
    pub(super) fn interfaces(&self, matched: &[MatchedPod<'_>]) -> Vec<u32> {
        // Endpoints with the same allow maps before and after change together.
        let mut compared = BTreeMap::new();
        let mut differs = |matched: &MatchedPod<'_>, direction| {
            let (old, new) = matched.isolation(direction);
            let new = new.map(|isolation| self.desired.allow_map(isolation));
            *compared
                .entry((old, new, direction))
                .or_insert_with(|| self.differ(old, new, direction))
        };
        let existing = matched.iter().filter(|matched| matched.old.is_some());
        let changed = existing
            .filter(|one| differs(one, Direction::Ingress) || differs(one, Direction::Egress));
        changed.map(|matched| matched.new.ifindex).collect()
    }

    /// Whether two allow maps give some look-up result another verdict; `None` is no isolation.
    fn differ(&self, old: Option<u32>, new: Option<AllowMapIndex>, direction: Direction) -> bool {
        let old = old.map(|allow_map| entry::of_allow_map(self.old, allow_map));
        let new = new.map(|allow_map| &self.new[allow_map]);
        if old.is_none() && new.is_none() {
            return false;
        }
        // One of the two may be open: then every look-up that the other one refuses differs.
        let egress = direction == Direction::Egress;
        // Frontends are only looked up for egress.
        let applies = |lookup: &Lookup| egress || matches!(lookup, Lookup::Address(_));
        let mut lookups = self.lookups.iter().filter(|(from, to)| applies(from) && applies(to));
        lookups.any(|(from, to)| Outcome::of(old, *from, *to) != Outcome::of(new, *to, *from))
    }
}

/// The verdicts of an allow map for the result of a look-up.
#[derive(PartialEq, Eq)]
enum Outcome<'a> {
    Ports(&'a Ports),
    Passes(bool),
    /// Connections go to one of these.
    Some(&'a ServiceBackends),
}

impl<'a> Outcome<'a> {
    /// `entries` is `None` where nothing isolates the endpoint. `other` is the result in the other
    /// state: only where both are addresses are there ports to compare.
    fn of(entries: Option<&'a Entries>, lookup: Lookup, other: Lookup) -> Self {
        static EVERYTHING: Ports =
            Ports { every_protocol: true, other_protocols: false, ranges: Vec::new() };
        let Some(entries) = entries else {
            let ports = matches!((lookup, other), (Lookup::Address(_), Lookup::Address(_)));
            return if ports { Self::Ports(&EVERYTHING) } else { Self::Passes(true) };
        };
        match lookup {
            Lookup::Address(id) => Self::Ports(ports_of(entries, id)),
            Lookup::Frontend(id) => match limit_of(entries, id) {
                None => Self::Passes(true),
                Some(Limit::Refuse(_)) => Self::Passes(false),
                Some(Limit::Some(backends)) => Self::Some(backends),
            },
            Lookup::Port(id, protocol, port) => {
                Self::Passes(ports_of(entries, id).contains(protocol, port))
            }
        }
    }
}
