//! Connections: the whole set of ports that one group of pods may reach at another, and at the
//! networks outside of the cluster.
//!
//! Input: a snapshot, its compiled result, and groups of pods (the workloads of `policyctl list`).
//! Output: exact sets, for any pair of groups ([`Connections::between`]) and for a group and the
//! rest of the address space ([`Connections::outside`]). No port is probed: the sets are those of
//! the allow maps.
//!
//! A connection passes if the egress of the source and the ingress of the destination allow it (S3).
//! Both sets are one look-up each, so the set of a pair is their intersection:
//!
//! ```text
//! egress of web, to the identity of db      TCP 1-65535
//! ingress of db, from the identity of web   TCP 5432, TCP 9100
//! web -> db                                 TCP 5432, TCP 9100
//! ```
//!
//! Pods with the same allow maps and the same identity are one *class*, and groups with pods of the
//! same classes share their answers: the work grows with the number of different policies, not with
//! the number of pods.

mod changes;
mod classes;
mod regions;

use std::{cell::RefCell, collections::BTreeMap, net::IpAddr, rc::Rc};

use crate::{
    desired::{Desired, Identity, Ports},
    model::{Direction, Family, ObjectName},
};

pub use changes::{Changed, ChangedOutside, Changes, Part};
use classes::{Classes, GroupClassId, Member};
pub use regions::{Outside, Region, regions};

/// The connections that one group may open to another, in one family or in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The families for which it holds.
    pub families: Vec<Family>,
    /// Ports that are allowed between every pair of their pods.
    pub every: Ports,
    /// Ports that are allowed between some pairs, and not between others.
    pub some: Ports,
}

/// The classes of two groups, and whether both are the same group.
type GroupPair = (GroupClassId, GroupClassId, bool);

/// Answers to questions that were asked before.
type Answers<Question, Entry> = RefCell<BTreeMap<Question, Rc<[Entry]>>>;

/// The allowed connections of groups of pods.
pub struct Connections<'a> {
    desired: &'a Desired,
    classes: Classes<'a>,
    /// The answers of [`Self::between`] so far.
    pairs: Answers<GroupPair, Allowed>,
    /// The answers of [`Self::outside`] so far.
    regions: Answers<(GroupClassId, Direction), Outside>,
}

impl<'a> Connections<'a> {
    /// Prepares the answers for groups of pods. `desired` is compiled for the whole cluster; pods
    /// that it does not have, such as those with hostNetwork, have no connections here.
    #[must_use]
    pub fn new(desired: &'a Desired, groups: &[Vec<ObjectName>]) -> Self {
        let (pairs, regions) = (RefCell::default(), RefCell::default());
        Self { desired, classes: Classes::new(desired, groups), pairs, regions }
    }

    /// A number that groups share if their answers are equal.
    fn class_of(&self, group: usize) -> usize {
        self.classes.of_group(group)
    }

    /// What pods of the group `from` may reach at pods of the group `to`, by their indices. A group
    /// and itself are its pods among each other; a group of one pod reaches nothing there.
    ///
    /// At most one entry for each family; one for both where they agree.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> Rc<[Allowed]> {
        let (one, other) = (self.classes.of_group(from), self.classes.of_group(to));
        let key = (one, other, from == to);
        if let Some(known) = self.pairs.borrow().get(&key) {
            return Rc::clone(known);
        }
        let found: Rc<[Allowed]> = self.pair(key).into();
        self.pairs.borrow_mut().insert(key, Rc::clone(&found));
        found
    }

    /// The families in which pods of both groups have addresses.
    #[must_use]
    pub fn common_families(&self, from: usize, to: usize) -> Vec<Family> {
        let has =
            |group, family| !self.classes.members(self.classes.of_group(group), family).is_empty();
        let both = |family: &Family| has(from, *family) && has(to, *family);
        Family::BOTH.into_iter().filter(both).collect()
    }

    fn pair(&self, (from, to, is_same): GroupPair) -> Vec<Allowed> {
        let mut answers: Vec<Allowed> = Vec::new();
        // A pod may have an address in one family only, and blocks name one family: each is
        // answered for itself, and both are one entry where they agree.
        for family in Family::BOTH {
            let (sources, destinations) =
                (self.classes.members(from, family), self.classes.members(to, family));
            let mut sets = PortBounds::default();
            for source in sources {
                for destination in destinations {
                    // Within a group, a class of one pod is no pair.
                    if is_same && source.class == destination.class && !source.has_several {
                        continue;
                    }
                    sets.add(self.classes.ports(source.class, destination.class));
                }
            }
            let Some((every, some)) = sets.finish() else { continue };
            match answers.iter_mut().find(|one| one.every == every && one.some == some) {
                Some(equal) => equal.families.push(family),
                None => answers.push(Allowed { families: vec![family], every, some }),
            }
        }
        answers.retain(|answer| !answer.every.is_empty() || !answer.some.is_empty());
        answers
    }

    /// What pods of a group may reach outside of the cluster (`Egress`), or who outside may reach
    /// them (`Ingress`), as blocks in the order of addresses.
    #[must_use]
    pub fn outside(&self, group: usize, direction: Direction) -> Rc<[Outside]> {
        let key = (self.classes.of_group(group), direction);
        if let Some(known) = self.regions.borrow().get(&key) {
            return Rc::clone(known);
        }
        let found: Rc<[Outside]> = self.regions(key).into();
        self.regions.borrow_mut().insert(key, Rc::clone(&found));
        found
    }

    fn regions(&self, (class, direction): (GroupClassId, Direction)) -> Vec<Outside> {
        let mut found = Vec::new();
        for family in Family::BOTH {
            let members = self.classes.members(class, family);
            if members.is_empty() {
                continue;
            }
            let ports = |identity: &_| self.ports_at(members, direction, identity);
            found.extend(regions::outside(self.desired, family, ports));
        }
        found
    }

    /// What the policies of a group's pods allow to an address (`Egress`) or from there (`Ingress`):
    /// ports for every pod, and for some of them only. `None` where it has no pod of this family.
    #[must_use]
    pub fn at(
        &self,
        group: usize,
        direction: Direction,
        address: IpAddr,
    ) -> Option<(Ports, Ports)> {
        let class = self.classes.of_group(group);
        let members = self.classes.members(class, Family::of(address));
        let identity = self.desired.identity_of(address);
        (!members.is_empty()).then(|| self.ports_at(members, direction, identity))
    }

    /// The ports of an identity for every pod of some classes, and for some of them only.
    fn ports_at(
        &self,
        members: &[Member],
        direction: Direction,
        identity: &Identity,
    ) -> (Ports, Ports) {
        let mut sets = PortBounds::default();
        for member in members {
            sets.add(self.classes.outside(member.class, direction, identity));
        }
        sets.finish().unwrap_or_default()
    }
}

/// The intersection and the union of sets of ports.
#[derive(Default)]
struct PortBounds {
    both: Option<(Ports, Ports)>,
}

impl PortBounds {
    fn add(&mut self, ports: Ports) {
        self.both = Some(match self.both.take() {
            None => (ports.clone(), ports),
            // Nearly all pods of a group are alike: no set is made for them.
            Some((every, any)) if every == ports && any == ports => (every, any),
            Some((every, any)) => (every.and(&ports), Ports::union([&any, &ports])),
        });
    }

    /// What is in every set, and what is in some; `None` where there was no set.
    fn finish(self) -> Option<(Ports, Ports)> {
        let (every, any) = self.both?;
        let some = any.without(&every);
        Some((every, some))
    }
}
