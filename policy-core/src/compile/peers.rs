//! Stage 2: which peer lists match which addresses of pods.
//!
//! Input: pods that a change touches, and peer lists that came into use or fell out of it. Output: for
//! each address that may match differently, the set of lists that match it now. An address matches
//! a list by its pod (a selector) or by itself (a block):
//!
//! ```text
//! list 1: podSelector app=web      list 2: ipBlock 10.0.0.0/8      list 3: podSelector app=db
//! 10.0.0.7   pod with app=web      {1, 2}
//! 10.0.0.8   pod with app=db       {2, 3}
//! 10.9.9.9   no pod                {2}, by the longest prefix in the table of blocks
//! ```

mod blocks;
mod groups;
mod selectors;
mod sets;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    compile::{
        change::{Touched, TouchedPods},
        prefix::{self, Prefixes},
        rules::lists::{ListsDelta, PeerLists},
    },
    fault::Fault,
    model::{ContainerPort, Pod, Snapshot},
};

use groups::{GroupId, Groups};
use selectors::Selectors;

pub(crate) use sets::{EMPTY, ListSetId, ListSets};

/// Pods by what policies can see of them, and the lists that match their addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    groups: Groups,
    selectors: Selectors,
    sets: ListSets,
    /// The lists that match by a block, by longest prefix.
    blocks: Prefixes<ListSetId>,
    /// Addresses of pods.
    addresses: BTreeMap<IpAddr, AddressGroups>,
    /// Addresses that several pods have.
    shared: BTreeMap<IpAddr, Fault>,
}

/// The groups of the pods that have an address.
#[derive(Clone, Debug)]
enum AddressGroups {
    One(GroupId),
    /// Two or more, which may be the same group.
    Many(Box<[GroupId]>),
}

/// What a change did to the addresses.
#[derive(Debug, Default)]
pub(crate) struct PeersDelta {
    /// Addresses that other lists may match, sorted, with the lists that match them now; `None`
    /// where no pod has the address any longer.
    pub(crate) addresses: Vec<(IpAddr, Option<ListSetId>)>,
    /// Addresses that several pods share now, or no longer.
    pub(crate) shared: BTreeSet<IpAddr>,
    /// Ranges of addresses in which other blocks match; `None` where the table stays as it is.
    pub(crate) blocks: Option<Vec<(IpAddr, IpAddr)>>,
    /// Whether faults changed.
    pub(crate) faults: bool,
}

impl Peers {
    /// Finds the lists that match the addresses that a change touches.
    pub(crate) fn update(
        &mut self,
        snapshot: &Snapshot,
        touched: &Touched,
        (lists, changes): (&PeerLists, &ListsDelta),
    ) -> PeersDelta {
        // Addresses with a set that may be another one now. Each is looked up once at the end,
        // however many parts of a change touch it: a pod with another label under a policy that is
        // new.
        let mut dirty = BTreeSet::new();
        self.update_pods(snapshot, touched, &mut dirty);
        for id in &changes.added {
            if let Some(list) = lists.get(*id) {
                self.selectors.insert(list, *id);
            }
        }
        for (id, list) in &changes.removed {
            self.selectors.remove(list, *id);
        }
        // The addresses of a group are those of its pods, old and new.
        for id in self.groups.update(lists, changes, &self.selectors, &mut self.sets) {
            dirty.extend(self.groups.addresses(id));
        }
        let mut delta = PeersDelta::default();
        if changes.has_blocks(lists) {
            delta.blocks = self.update_blocks(lists, &mut dirty);
        }
        for address in dirty {
            self.update_shared(address, snapshot, &mut delta);
            let set = self.set_of(address, lists);
            delta.addresses.push((address, set));
        }
        self.sets.drop_delta();
        delta
    }

    fn update_pods(
        &mut self,
        snapshot: &Snapshot,
        touched: &Touched,
        dirty: &mut BTreeSet<IpAddr>,
    ) {
        if let Some(namespace) = &touched.namespace {
            self.groups.relabel(namespace, snapshot);
        }
        match &touched.pods {
            TouchedPods::None => {}
            TouchedPods::One(name, old) => {
                // The new pod comes first: an address that stays always has an owner.
                if let Some(new) = snapshot.pods.get(name).filter(|pod| pod.is_subject()) {
                    self.insert(&name.namespace, new, snapshot, dirty);
                }
                if let Some(old) = old {
                    self.remove(&name.namespace, old, dirty);
                }
            }
            TouchedPods::All => {
                for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| pod.is_subject()) {
                    self.insert(&name.namespace, pod, snapshot, dirty);
                }
            }
        }
    }

    fn insert(
        &mut self,
        namespace: &str,
        pod: &Pod,
        snapshot: &Snapshot,
        dirty: &mut BTreeSet<IpAddr>,
    ) {
        let addresses = addresses_of(pod);
        let group = self.groups.insert(namespace, pod, &addresses, snapshot);
        for address in addresses {
            match self.addresses.get_mut(&address) {
                Some(owners) => owners.insert(group),
                None => drop(self.addresses.insert(address, AddressGroups::One(group))),
            }
            dirty.insert(address);
        }
    }

    fn remove(&mut self, namespace: &str, pod: &Pod, dirty: &mut BTreeSet<IpAddr>) {
        let addresses = addresses_of(pod);
        let Some(group) = self.groups.remove(namespace, pod, &addresses) else { return };
        for address in addresses {
            if self.addresses.get_mut(&address).is_some_and(|owners| !owners.remove(group)) {
                self.addresses.remove(&address);
            }
            dirty.insert(address);
        }
    }

    /// Makes the table of blocks again; marks the addresses of pods in ranges that changed.
    fn update_blocks(
        &mut self,
        lists: &PeerLists,
        dirty: &mut BTreeSet<IpAddr>,
    ) -> Option<Vec<(IpAddr, IpAddr)>> {
        // A new table is made as a whole: one block can change the sets of all prefixes inside of
        // it. Equal sets have equal ids, so that comparing the tables is cheap.
        let blocks = blocks::matching(lists, &mut self.sets);
        if blocks == self.blocks {
            return None;
        }
        let changed = prefix::changed_ranges(&self.blocks, &blocks);
        self.blocks = blocks;
        for (first, last) in &changed {
            dirty.extend(self.addresses.range(first..=last).map(|(address, _)| *address));
        }
        Some(changed)
    }

    /// The lists that match an address of a pod.
    fn set_of(&mut self, address: IpAddr, lists: &PeerLists) -> Option<ListSetId> {
        let selected = match self.addresses.get(&address)? {
            AddressGroups::One(group) => self.groups.set(*group),
            AddressGroups::Many(groups) => {
                let of_each: Vec<ListSetId> =
                    groups.iter().map(|id| self.groups.set(*id)).collect();
                shared::set_of(&of_each, lists, &mut self.sets)
            }
        };
        // A block matches an address whether or not a pod has it (S18).
        // The set of the smallest block has the lists of the blocks around it too.
        let around = prefix::longest_match(&self.blocks, address).copied().unwrap_or(EMPTY);
        Some(self.sets.union(selected, around))
    }

    fn update_shared(&mut self, address: IpAddr, snapshot: &Snapshot, delta: &mut PeersDelta) {
        let fault = match self.addresses.get(&address) {
            Some(AddressGroups::Many(groups)) => {
                let namespaces = groups.iter().filter_map(|id| self.groups.namespace(*id));
                shared::fault(address, namespaces, snapshot)
            }
            Some(AddressGroups::One(_)) | None => None,
        };
        let before = match &fault {
            Some(fault) => self.shared.insert(address, fault.clone()),
            None => self.shared.remove(&address),
        };
        delta.faults |= before != fault;
        if before.is_some() != fault.is_some() {
            delta.shared.insert(address);
        }
    }

    /// Makes a pod share the memory of what equal pods have.
    pub(crate) fn share(&self, namespace: &str, pod: &mut Pod) {
        self.groups.share(namespace, pod);
    }

    /// The named ports of each pod that has an address.
    pub(crate) fn named_ports(&self, address: IpAddr) -> impl Iterator<Item = &[ContainerPort]> {
        let owners = self.addresses.get(&address).map(AddressGroups::all).unwrap_or_default();
        owners.iter().filter_map(|id| self.groups.named_ports(*id))
    }

    /// The prefixes in which blocks match, with the lists that do.
    pub(crate) fn blocks(&self) -> &Prefixes<ListSetId> {
        &self.blocks
    }

    /// The interned sets of lists.
    pub(crate) fn sets(&self) -> &ListSets {
        &self.sets
    }

    /// Whether a pod has an address.
    pub(crate) fn is_pods(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// Whether several pods have an address.
    pub(crate) fn is_shared(&self, address: IpAddr) -> bool {
        self.shared.contains_key(&address)
    }

    /// Faults of addresses that several pods have.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.shared.values()
    }

    /// How many addresses pods have.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// How many ids are spent, on sets too, which are never removed.
    pub(crate) fn spent(&self) -> usize {
        self.groups.spent() + self.sets.len()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.groups.is_sound() && self.sets.is_sound()
    }
}

impl AddressGroups {
    fn all(&self) -> &[GroupId] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn insert(&mut self, group: GroupId) {
        // Two pods of one group count twice, so that the address stays when one of them goes.
        *self = Self::Many(self.all().iter().copied().chain([group]).collect());
    }

    /// Removes one owner of a group; returns whether owners are left.
    fn remove(&mut self, group: GroupId) -> bool {
        let mut left = self.all().to_vec();
        if let Some(at) = left.iter().position(|one| *one == group) {
            left.remove(at);
        }
        match left[..] {
            [] => return false,
            [one] => *self = Self::One(one),
            _ => *self = Self::Many(left.into()),
        }
        true
    }
}

/// The distinct addresses of a pod that packets can carry.
fn addresses_of(pod: &Pod) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = pod.usable_addresses().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
