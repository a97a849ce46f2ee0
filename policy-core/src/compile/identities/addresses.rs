//! Identities: addresses that the same peer lists match share one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;

use crate::{
    compile::{
        identities::numbers::{IdentityId, Numbers},
        peers::{
            blocks,
            groups::{self, Group, GroupId, Groups},
            lists::{ListChanges, ListId, Lists},
            selectors::Selectors,
            sets::{SetId, Sets},
        },
        prefix::{self, Prefixes},
        rules::rule::ResolvedPorts,
    },
    desired::Desired,
    fault::{Effect, Fault, Problem},
    model::{FieldPath, Kind, ObjectName, ObjectRef, Pod, Snapshot},
};

/// The addresses of the cluster by identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identities {
    pub(crate) groups: Groups,
    pub(crate) numbers: Numbers,
    /// Every address of a pod.
    addresses: BTreeMap<IpAddr, Owned>,
    /// What blocks say, by longest prefix.
    prefixes: Prefixes<(SetId, IdentityId)>,
    sets: Sets,
    selectors: Selectors,
    /// Addresses that several pods have.
    shared: BTreeMap<IpAddr, Fault>,
    /// Addresses of which something changed.
    dirty: BTreeSet<IpAddr>,
}

/// Who has an address, and what it means.
#[derive(Clone, Debug)]
struct Owned {
    owners: Owners,
    meaning: IdentityId,
}

/// The groups of the pods that have an address.
#[derive(Clone, Debug)]
enum Owners {
    One(GroupId),
    Many(Box<[GroupId]>),
}

impl Owners {
    fn all(&self) -> &[GroupId] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn of(all: &[GroupId]) -> Option<Self> {
        match all {
            [] => None,
            [one] => Some(Self::One(*one)),
            many => Some(Self::Many(many.into())),
        }
    }
}

/// What of the identities changed.
#[derive(Debug, Default)]
pub(crate) struct AddressChanges {
    /// Pods' addresses that mean something else, or are shared by pods or no longer.
    pub(crate) moved: BTreeSet<IpAddr>,
    /// Whether addresses that no pod has may mean something else.
    pub(crate) around: bool,
    /// How many addresses were looked at.
    pub(crate) judged: usize,
    /// Whether faults changed.
    pub(crate) faults: bool,
}

impl Identities {
    /// Takes a pod in.
    pub(crate) fn insert(&mut self, namespace: &str, pod: &Pod, snapshot: &Snapshot) {
        let group = self.groups.insert(namespace, pod, snapshot);
        for address in groups::addresses(pod) {
            let known = self.addresses.get(&address);
            let mut owners = known.map(|known| known.owners.all().to_vec()).unwrap_or_default();
            owners.push(group);
            self.own(address, &owners);
        }
    }

    /// Lets a pod go.
    pub(crate) fn remove(&mut self, namespace: &str, pod: &Pod) {
        let Some(group) = self.groups.remove(namespace, pod) else { return };
        for address in groups::addresses(pod) {
            let known = self.addresses.get(&address);
            let mut owners = known.map(|known| known.owners.all().to_vec()).unwrap_or_default();
            if let Some(at) = owners.iter().position(|one| *one == group) {
                owners.remove(at);
            }
            self.own(address, &owners);
        }
    }

    fn own(&mut self, address: IpAddr, owners: &[GroupId]) {
        self.dirty.insert(address);
        match (Owners::of(owners), self.addresses.get_mut(&address)) {
            (Some(owners), Some(known)) => known.owners = owners,
            (Some(owners), None) => {
                self.addresses.insert(address, Owned { owners, meaning: 0 });
            }
            (None, _) => {
                if let Some(gone) = self.addresses.remove(&address) {
                    self.numbers.release(gone.meaning);
                }
            }
        }
    }

    /// Brings everything up to date with the lists.
    pub(crate) fn follow(
        &mut self,
        changes: &ListChanges,
        lists: &Lists,
        snapshot: &Snapshot,
        desired: &mut Desired,
    ) -> AddressChanges {
        for list in &changes.came {
            if let Some(peers) = lists.get(*list) {
                self.selectors.insert(peers, *list);
            }
        }
        for (list, peers) in &changes.went {
            self.selectors.remove(peers, *list);
        }
        // New groups ask for all lists by themselves, so they come last.
        let mut groups = self.groups.follow(changes, lists, &mut self.sets);
        groups.extend(self.groups.select(&self.selectors, &mut self.sets));
        for group in groups.iter().filter_map(|id| self.groups.get(*id)) {
            self.dirty.extend(&group.addresses);
        }
        let mut done = AddressChanges::default();
        if changes.have_blocks(lists) {
            done.around = self.enter_blocks(lists, desired);
        }
        if changes.all_asked || !changes.asked.is_empty() {
            self.ask_again(changes);
        }
        let dirty = std::mem::take(&mut self.dirty);
        done.judged = dirty.len();
        for address in dirty {
            self.judge(address, lists, snapshot, desired, &mut done);
        }
        done
    }

    /// Makes the table of blocks anew; tells whether some address changes by it.
    fn enter_blocks(&mut self, lists: &Lists, desired: &mut Desired) -> bool {
        let prefixes = blocks::prefixes(lists, &mut self.sets);
        let turned = prefix::turned(&self.prefixes, &prefixes);
        for (first, last) in &turned {
            self.dirty.extend(self.addresses.range(first..=last).map(|(address, _)| *address));
        }
        let same = self.prefixes.len() == prefixes.len()
            && self.prefixes.iter().zip(&prefixes).all(|(old, new)| (old.0, &old.1.0) == new);
        if same {
            return false;
        }
        let mut number = |(prefix, set): (IpNetwork, SetId)| {
            let meaning = self.numbers.acquire(set, ResolvedPorts::new(), &self.sets, lists);
            (prefix, (set, meaning))
        };
        let prefixes = prefixes.into_iter().map(&mut number).collect();
        let old = std::mem::replace(&mut self.prefixes, prefixes);
        for (_, meaning) in old.into_values() {
            self.numbers.release(meaning);
        }
        let numbers = &self.numbers;
        let named = self.prefixes.iter().map(|(prefix, of)| (*prefix, numbers.identity(of.1)));
        desired.blocks = named.collect();
        !turned.is_empty()
    }

    /// Addresses of which other named ports are asked for.
    fn ask_again(&mut self, changes: &ListChanges) {
        for (address, owned) in &self.addresses {
            let known = self.numbers.get(owned.meaning);
            let lists = known.map(|known| &*known.lists).unwrap_or_default();
            let asked = || lists.iter().any(|list| changes.asked.contains(list));
            if changes.all_asked || asked() {
                self.dirty.insert(*address);
            }
        }
    }

    /// Finds out what an address means.
    fn judge(
        &mut self,
        address: IpAddr,
        lists: &Lists,
        snapshot: &Snapshot,
        desired: &mut Desired,
        done: &mut AddressChanges,
    ) {
        let fault = self.shared_by(address, snapshot);
        let was_shared = match &fault {
            Some(fault) => self.shared.insert(address, fault.clone()),
            None => self.shared.remove(&address),
        };
        done.faults |= was_shared != fault;
        if was_shared.is_some() != fault.is_some() {
            done.moved.insert(address);
        }
        let around = prefix::longest_match(&self.prefixes, address).copied().unwrap_or_default();
        let Some(owned) = self.addresses.get(&address) else {
            desired.addresses.remove(&address);
            done.moved.insert(address);
            return;
        };
        let owners: Vec<&Group> =
            owned.owners.all().iter().filter_map(|id| self.groups.get(*id)).collect();
        let selected = of_all(&owners, lists, &mut self.sets);
        let set = self.sets.union(selected, around.0);
        let named = resolve(lists, self.sets.get(set), &owners);
        let meaning = self.numbers.acquire(set, named, &self.sets, lists);
        let Some(owned) = self.addresses.get_mut(&address) else { return };
        let before = std::mem::replace(&mut owned.meaning, meaning);
        self.numbers.release(before);
        if meaning == around.1 {
            desired.addresses.remove(&address);
        } else {
            desired.addresses.insert(address, self.numbers.identity(meaning));
        }
        if before != meaning {
            done.moved.insert(address);
        }
    }

    fn shared_by(&self, address: IpAddr, snapshot: &Snapshot) -> Option<Fault> {
        let owned = self.addresses.get(&address)?;
        let Owners::Many(groups) = &owned.owners else { return None };
        let groups = groups.iter().filter_map(|id| self.groups.get(*id));
        let namespaces: BTreeSet<&str> = groups.map(|group| group.namespace.as_str()).collect();
        let pods = namespaces.into_iter().flat_map(|namespace| {
            let from = snapshot.pods.range(ObjectName::new(namespace, "")..);
            from.take_while(move |(name, _)| name.namespace == namespace)
        });
        let owners = pods.filter(|(_, pod)| pod.is_subject() && pod.addresses.contains(&address));
        let names: Vec<&ObjectName> = owners.map(|(name, _)| name).collect();
        shared_address(address, &names)
    }

    /// What any address means.
    pub(crate) fn of(&self, address: IpAddr) -> IdentityId {
        let exact = self.addresses.get(&address).map(|owned| owned.meaning);
        let around = || prefix::longest_match(&self.prefixes, address).map(|(_, meaning)| *meaning);
        exact.or_else(around).unwrap_or(0)
    }

    /// Whether several pods have an address.
    pub(crate) fn is_shared(&self, address: IpAddr) -> bool {
        self.shared.contains_key(&address)
    }

    /// Whether a pod has an address.
    pub(crate) fn is_pods(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// How many addresses pods have.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// What is wrong with addresses.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.shared.values()
    }

    /// How much is kept of what is no longer in use, and how much is in use.
    pub(crate) fn waste(&self) -> (usize, usize) {
        let (given, used) = self.numbers.counts();
        (given - used + self.sets.len(), used + self.addresses.len())
    }
}

/// The lists that match an address of several pods: all of them, or one where that is enough.
fn of_all(owners: &[&Group], lists: &Lists, sets: &mut Sets) -> SetId {
    if let [one] = owners {
        return one.lists;
    }
    let ids = owners.iter().map(|owner| owner.lists);
    let common = ids.clone().reduce(|a, b| sets.intersection(a, b)).unwrap_or(0);
    let some: Vec<ListId> = ids.flat_map(|id| sets.get(id).iter().copied()).collect();
    let any_owner = |id: &ListId| {
        lists.get(*id).is_some_and(crate::compile::rules::peer_list::PeerList::any_owner)
    };
    let some = some.into_iter().filter(any_owner).collect();
    let some = sets.intern(some);
    sets.union(common, some)
}

/// What the named ports in question resolve to, on every pod that has the address.
fn resolve(lists: &Lists, set: &[ListId], owners: &[&Group]) -> ResolvedPorts {
    if !lists.ask_for_names() || owners.iter().any(|owner| owner.ports.is_empty()) {
        return ResolvedPorts::new();
    }
    let mut resolved = ResolvedPorts::new();
    for name in lists.names_at(set) {
        let on = |owner: &&Group| -> BTreeSet<u16> {
            let same = owner.ports.iter().filter(|port| {
                port.protocol == name.protocol && port.name.as_deref() == Some(&name.name)
            });
            same.map(|port| port.port).collect()
        };
        let common = owners.iter().map(on).reduce(|a, b| &a & &b).unwrap_or_default();
        if !common.is_empty() {
            resolved.insert(name.clone(), common);
        }
    }
    resolved
}

/// The fault of the first of several pods that have an address.
fn shared_address(address: IpAddr, owners: &[&ObjectName]) -> Option<Fault> {
    let pods = owners.iter().map(|name| (*name).clone()).collect();
    Some(Fault {
        object: ObjectRef::namespaced(Kind::Pod, owners.first()?),
        field: FieldPath::root().field("status").field("podIPs"),
        problem: Problem::SharedAddress { address, pods },
        effect: Effect::MatchedByCommonPeers,
    })
}
