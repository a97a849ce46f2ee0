//! Classes: pods that no compiled set distinguishes.
//!
//! ```text
//! x/web-1, x/web-2   egress map 0, no ingress map, identity 3   class 0, of two pods
//! x/db               egress map 0, ingress map 1, identity 4    class 1
//! ```

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use crate::{
    desired::{AllowMap, Desired, DesiredEndpoint, Identity, Ports},
    model::{Direction, Family, ObjectName, PerDirection},
};

/// Number of a class of pods in one family.
pub(super) type ClassId = usize;

/// Number of a class of groups.
pub(super) type GroupClassId = usize;

/// A class that a group has pods of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) class: ClassId,
    /// Whether the group has more than one pod of it.
    pub(super) has_several: bool,
}

/// What compiled sets see of a pod in one family. `None` for a direction that nothing isolates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Class<'a> {
    maps: PerDirection<Option<usize>>,
    identity: &'a Identity,
}

/// Every class, and the classes of each group.
pub(super) struct Classes<'a> {
    maps: Vec<&'a AllowMap>,
    of_pods: Vec<Class<'a>>,
    /// Per class of groups: the members in IPv4 and in IPv6.
    of_groups: Vec<[Vec<Member>; 2]>,
    of_group: Vec<GroupClassId>,
    /// The ports of pairs of classes so far.
    pairs: RefCell<BTreeMap<(ClassId, ClassId), Rc<Ports>>>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(desired: &'a Desired, groups: &[Vec<ObjectName>]) -> Self {
        let mut numbers = AllowMapNumbers::default();
        let mut classes: BTreeMap<Class<'a>, ClassId> = BTreeMap::new();
        let mut group_classes: BTreeMap<[Vec<Member>; 2], GroupClassId> = BTreeMap::new();
        let mut of_group = Vec::with_capacity(groups.len());
        for group in groups {
            let endpoints = || group.iter().filter_map(|name| desired.endpoints.get(name));
            let members = Family::BOTH.map(|family| {
                let mut found: BTreeMap<ClassId, bool> = BTreeMap::new();
                for class in endpoints().filter_map(|one| class(desired, one, family, &mut numbers))
                {
                    let next = classes.len();
                    let id = *classes.entry(class).or_insert(next);
                    found.entry(id).and_modify(|several| *several = true).or_insert(false);
                }
                let member = |(class, has_several)| Member { class, has_several };
                found.into_iter().map(member).collect()
            });
            let next = group_classes.len();
            of_group.push(*group_classes.entry(members).or_insert(next));
        }
        Self {
            maps: in_order(numbers.maps),
            of_pods: in_order(classes),
            of_groups: in_order(group_classes),
            of_group,
            pairs: RefCell::default(),
        }
    }

    /// The class of a group; groups that do not exist are like the first.
    pub(super) fn of_group(&self, group: usize) -> GroupClassId {
        self.of_group.get(group).copied().unwrap_or_default()
    }

    /// The classes of a group's pods in a family.
    pub(super) fn members(&self, group: GroupClassId, family: Family) -> &[Member] {
        let family = usize::from(family == Family::Ipv6);
        self.of_groups.get(group).map_or(&[], |members| &members[family])
    }

    /// What a pod of one class may reach at a pod of another.
    pub(super) fn ports(&self, from: ClassId, to: ClassId) -> Ports {
        if let Some(known) = self.pairs.borrow().get(&(from, to)) {
            return Ports::clone(known);
        }
        let (source, destination) = (&self.of_pods[from], &self.of_pods[to]);
        let egress = self.outside(from, Direction::Egress, destination.identity);
        let ingress = self.outside(to, Direction::Ingress, source.identity);
        let ports = Rc::new(egress.and(&ingress));
        self.pairs.borrow_mut().insert((from, to), Rc::clone(&ports));
        Ports::clone(&ports)
    }

    /// What the policies of a class allow in a direction to an identity.
    pub(super) fn outside(
        &self,
        class: ClassId,
        direction: Direction,
        identity: &Identity,
    ) -> Ports {
        match self.of_pods[class].maps.get(direction) {
            None => Ports::everything(),
            Some(map) => self.maps[*map].ports_of(identity).cloned().unwrap_or_default(),
        }
    }
}

/// The allow maps of all pods, numbered in the order of first use, so that classes compare numbers in
/// place of maps. Equal maps have one number; most are found by where they are in memory.
#[derive(Default)]
struct AllowMapNumbers<'a> {
    by_place: BTreeMap<*const AllowMap, usize>,
    maps: BTreeMap<&'a AllowMap, usize>,
}

impl<'a> AllowMapNumbers<'a> {
    fn number(&mut self, map: &'a AllowMap) -> usize {
        let Self { by_place, maps } = self;
        *by_place.entry(std::ptr::from_ref(map)).or_insert_with(|| {
            let next = maps.len();
            *maps.entry(map).or_insert(next)
        })
    }
}

/// The class of a pod in a family; `None` where it has no address there.
fn class<'a>(
    desired: &'a Desired,
    endpoint: &'a DesiredEndpoint,
    family: Family,
    numbers: &mut AllowMapNumbers<'a>,
) -> Option<Class<'a>> {
    let mut addresses = endpoint.addresses.iter().copied();
    let address = addresses.find(|address| Family::of(*address) == family)?;
    let maps = PerDirection::from_fn(|direction| {
        let isolation = endpoint.isolation.get(direction).as_ref()?;
        Some(numbers.number(&isolation.allow_map))
    });
    Some(Class { maps, identity: desired.identity_of(address) })
}

/// The keys in the order of their numbers.
fn in_order<K>(numbered: BTreeMap<K, usize>) -> Vec<K> {
    let mut keys: Vec<(K, usize)> = numbered.into_iter().collect();
    keys.sort_by_key(|(_, number)| *number);
    keys.into_iter().map(|(key, _)| key).collect()
}
