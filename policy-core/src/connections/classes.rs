//! Classes: pods that no compiled set distinguishes.
//!
//! ```text
//! x/web-1, x/web-2   egress map 0, no ingress map, identity 3   class 0, of two pods
//! x/db               egress map 0, ingress map 1, identity 4    class 1
//! ```

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

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
    /// Per allow map: the ports of the identities that pods have, by their numbers.
    entries: Vec<HashMap<usize, &'a Ports>>,
    of_pods: Vec<Class<'a>>,
    /// The number of the identity of each class.
    identities: Vec<usize>,
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
        let (maps, of_pods) = (in_order(numbers.maps), in_order(classes));
        let numbers = IdentityNumbers::new(of_pods.iter().map(|class| class.identity));
        let number = |class: &Class<'a>| numbers.of(class.identity).unwrap_or_default();
        Self {
            entries: maps.iter().map(|map| numbers.entries(map)).collect(),
            identities: of_pods.iter().map(number).collect(),
            maps,
            of_pods,
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
        let egress = self.towards(from, Direction::Egress, to);
        let ingress = self.towards(to, Direction::Ingress, from);
        let ports = Rc::new(egress.and(&ingress));
        self.pairs.borrow_mut().insert((from, to), Rc::clone(&ports));
        Ports::clone(&ports)
    }

    /// What the policies of a class allow in a direction to the pods of another class.
    fn towards(&self, class: ClassId, direction: Direction, peer: ClassId) -> Cow<'a, Ports> {
        let Some(map) = *self.of_pods[class].maps.get(direction) else {
            return Cow::Owned(Ports::everything());
        };
        let found = self.entries[map].get(&self.identities[peer]).copied();
        let found = found.or_else(|| self.maps[map].ports.get(&None));
        found.map_or_else(|| Cow::Owned(Ports::default()), Cow::Borrowed)
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

/// The identities of pods, numbered. Comparing two identities costs a pass over their peer lists, and a
/// cluster of 500 pods has 250,000 pairs; most identities are found by where they are in memory.
struct IdentityNumbers<'a> {
    by_place: HashMap<usize, usize>,
    all: BTreeMap<&'a Identity, usize>,
}

impl<'a> IdentityNumbers<'a> {
    fn new(identities: impl Iterator<Item = &'a Identity>) -> Self {
        let mut numbers = Self { by_place: HashMap::new(), all: BTreeMap::new() };
        for identity in identities {
            let next = numbers.all.len();
            let number = *numbers.all.entry(identity).or_insert(next);
            numbers.by_place.extend(identity.as_ref().map(|key| (key.pointer(), number)));
        }
        numbers
    }

    fn of(&self, identity: &Identity) -> Option<usize> {
        let place = identity.as_ref().and_then(|key| self.by_place.get(&key.pointer()));
        place.or_else(|| self.all.get(identity)).copied()
    }

    /// The entries of an allow map, without those of identities that no pod has.
    fn entries(&self, map: &'a AllowMap) -> HashMap<usize, &'a Ports> {
        let entries = map.ports.iter();
        entries.filter_map(|(identity, ports)| Some((self.of(identity)?, ports))).collect()
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
