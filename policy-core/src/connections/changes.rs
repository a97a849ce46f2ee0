//! Changes: what one compiled cluster allows and another one does not.
//!
//! Input: two compiled clusters, and groups of pods that both have. Output: the exact sets of ports
//! that open and close between two groups ([`Changes::between`]) and outside of the cluster
//! ([`Changes::outside`]).
//!
//! The pods of a workload need not be alike, and one of them can open while another closes. Groups
//! are therefore split until neither cluster distinguishes the pods of a part ([`Changes::parts`]):
//!
//! ```text
//! web-0, web-1   old class 0, new class 4    part 0
//! web-2          old class 0, new class 5    part 1: only the new cluster isolates it
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use ipnetwork::IpNetwork;

use super::{Answers, Connections, Region, regions};
use crate::{
    compile::longest_match,
    desired::{Desired, Identity, Ports},
    model::{Direction, Family, ObjectName},
};

/// The connections between two parts that change, in one family or in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The families for which it holds.
    pub families: Vec<Family>,
    /// Ports that are allowed now and were not before.
    pub opened: Ports,
    /// Ports that were allowed before and are not now.
    pub closed: Ports,
}

/// What changes between a part and a region outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedOutside {
    /// The addresses.
    pub region: Region,
    /// Ports that are allowed now and were not before.
    pub opened: Ports,
    /// Ports that were allowed before and are not now.
    pub closed: Ports,
}

/// Pods of one group that neither cluster distinguishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the group.
    pub group: usize,
    /// Its pods, at least one.
    pub pods: Vec<ObjectName>,
}

/// The class of a part in both clusters.
type PartClass = (usize, usize);

/// A block that one of the clusters names, and its identity in both.
type Block<'a> = (IpNetwork, &'a Identity, &'a Identity);

/// What changes between two compiled clusters.
pub struct Changes<'a> {
    parts: Vec<Part>,
    old: Connections<'a>,
    new: Connections<'a>,
    /// The blocks of each family.
    blocks: [Vec<Block<'a>>; 2],
    pairs: Answers<(PartClass, PartClass, bool), Changed>,
    regions: Answers<(PartClass, Direction), ChangedOutside>,
}

impl<'a> Changes<'a> {
    /// Compares two clusters that are compiled as a whole.
    #[must_use]
    pub fn new(old: &'a Desired, new: &'a Desired, groups: &[Vec<ObjectName>]) -> Self {
        let parts = parts(old, new, groups);
        let pods: Vec<Vec<ObjectName>> = parts.iter().map(|part| part.pods.clone()).collect();
        Self {
            old: Connections::new(old, &pods),
            new: Connections::new(new, &pods),
            blocks: Family::BOTH.map(|family| blocks(old, new, family)),
            parts,
            pairs: RefCell::default(),
            regions: RefCell::default(),
        }
    }

    /// The parts of all groups, in the order of the groups.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What changes from one part to another, by their indices; a part and itself are its pods among
    /// each other.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> Rc<[Changed]> {
        let key = (self.class_of(from), self.class_of(to), from == to);
        if let Some(known) = self.pairs.borrow().get(&key) {
            return Rc::clone(known);
        }
        let found: Rc<[Changed]> = self.pair(from, to).into();
        self.pairs.borrow_mut().insert(key, Rc::clone(&found));
        found
    }

    /// What changes between a part and the rest of the address space, as blocks in the order of
    /// addresses.
    #[must_use]
    pub fn outside(&self, part: usize, direction: Direction) -> Rc<[ChangedOutside]> {
        let key = (self.class_of(part), direction);
        if let Some(known) = self.regions.borrow().get(&key) {
            return Rc::clone(known);
        }
        let found: Rc<[ChangedOutside]> = self.changed_regions(part, direction).into();
        self.regions.borrow_mut().insert(key, Rc::clone(&found));
        found
    }

    fn class_of(&self, part: usize) -> PartClass {
        (self.old.class_of(part), self.new.class_of(part))
    }

    fn pair(&self, from: usize, to: usize) -> Vec<Changed> {
        let (before, after) = (self.old.between(from, to), self.new.between(from, to));
        let mut changed: Vec<Changed> = Vec::new();
        for family in Family::BOTH {
            // The pods of a part are alike, so that nothing is allowed for some of them only.
            let of = |answers: &[super::Allowed]| {
                let mut answers = answers.iter();
                answers.find(|one| one.families.contains(&family)).map(|one| one.every.clone())
            };
            let (before, after) = (of(&before).unwrap_or_default(), of(&after).unwrap_or_default());
            let (opened, closed) = (after.without(&before), before.without(&after));
            match changed.iter_mut().find(|one| one.opened == opened && one.closed == closed) {
                Some(equal) => equal.families.push(family),
                None => changed.push(Changed { families: vec![family], opened, closed }),
            }
        }
        changed.retain(|one| !one.opened.is_empty() || !one.closed.is_empty());
        changed
    }

    fn changed_regions(&self, part: usize, direction: Direction) -> Vec<ChangedOutside> {
        let mut found = Vec::new();
        for (family, blocks) in Family::BOTH.into_iter().zip(&self.blocks) {
            let of = |side: &Connections<'_>, identity: &Identity| {
                let members = side.classes.members(side.class_of(part), family);
                side.ports_at(members, direction, identity).0
            };
            // Without an address in the family nothing is allowed on either side.
            let value = |old: &Identity, new: &Identity| {
                let (before, after) = (of(&self.old, old), of(&self.new, new));
                (after.without(&before), before.without(&after))
            };
            let values = blocks.iter().map(|(block, old, new)| (*block, value(old, new)));
            let whole = regions::everything(family);
            let regions = regions::split(whole, value(&None, &None), values);
            let changed = |(region, (opened, closed))| ChangedOutside { region, opened, closed };
            found.extend(regions.into_iter().map(changed));
        }
        found.retain(|one| !one.opened.is_empty() || !one.closed.is_empty());
        found
    }
}

/// Splits groups so that all pods of a part have one class in each cluster.
fn parts(old: &Desired, new: &Desired, groups: &[Vec<ObjectName>]) -> Vec<Part> {
    let single: Vec<Vec<ObjectName>> =
        groups.iter().flatten().map(|pod| vec![pod.clone()]).collect();
    let sides = [old, new].map(|side| Connections::new(side, &single));
    let mut number = 0;
    let mut parts = Vec::new();
    for (group, pods) in groups.iter().enumerate() {
        let mut found: BTreeMap<PartClass, Vec<ObjectName>> = BTreeMap::new();
        for pod in pods {
            let class = (sides[0].class_of(number), sides[1].class_of(number));
            found.entry(class).or_default().push(pod.clone());
            number += 1;
        }
        parts.extend(found.into_values().map(|pods| Part { group, pods }));
    }
    parts
}

/// The blocks of a family that one of the clusters names, with the identity in both: that of the
/// smallest block around it, where a cluster does not name it.
fn blocks<'a>(old: &'a Desired, new: &'a Desired, family: Family) -> Vec<Block<'a>> {
    let whole = regions::everything(family);
    let all: BTreeSet<IpNetwork> = old.blocks.keys().chain(new.blocks.keys()).collect();
    let identity = |side: &'a Desired, block| longest_match(&side.blocks, block).unwrap_or(&None);
    all.into_iter()
        .filter(|block| block.is_ipv4() == whole.is_ipv4())
        .map(|block| (block, identity(old, block), identity(new, block)))
        .collect()
}
