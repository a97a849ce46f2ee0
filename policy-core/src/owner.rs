//! Which pod has an address, and when that changes (S8).
//!
//! An address that another pod has now must not keep the connections of the one before: the node
//! deletes the flows of the addresses that [`Owners::update`] returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use crate::model::{ObjectName, Pod, Snapshot};

/// The pods that have each address: one, or two for a moment, while the API server still has the
/// pod that had the address before.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    pods: BTreeMap<IpAddr, BTreeSet<Owner>>,
    version: u64,
}

/// A pod: its name, and a hash of its UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    name: ObjectName,
    uid: u64,
}

impl Owners {
    /// Takes over a snapshot; returns the addresses that another pod has now, or no pod any longer.
    ///
    /// An address that no pod had is not among them, nor is one that keeps its pod while another
    /// pod that had it too goes.
    pub fn update(&mut self, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
        let mut owners = Self::default();
        for (name, pod) in &snapshot.pods {
            owners.insert(name, pod);
        }
        owners.version = self.version + 1;
        let before = std::mem::replace(self, owners).pods;
        let changed = before.into_iter().filter(|(address, before)| self.changed(address, before));
        changed.map(|(address, _)| address).collect()
    }

    /// Takes over a change of one pod; returns the same as [`update`](Self::update).
    pub fn change(
        &mut self,
        name: &ObjectName,
        old: Option<&Pod>,
        new: Option<&Pod>,
    ) -> BTreeSet<IpAddr> {
        let pods = old.iter().chain(&new);
        let addresses: BTreeSet<IpAddr> = pods.flat_map(|pod| pod.usable_addresses()).collect();
        let of = |owners: &Self| -> Vec<_> {
            let owners =
                addresses.iter().map(|address| (*address, owners.pods.get(address).cloned()));
            owners.filter_map(|(address, owners)| Some((address, owners?))).collect()
        };
        let before = of(self);
        if let Some(old) = old {
            self.remove(name, old);
        }
        if let Some(new) = new {
            self.insert(name, new);
        }
        let had = before.iter().map(|(address, _)| address);
        let has = addresses.iter().filter(|address| self.pods.contains_key(*address));
        self.version += u64::from(!had.eq(has));
        let changed = before.into_iter().filter(|(address, before)| self.changed(address, before));
        changed.map(|(address, _)| address).collect()
    }

    /// A number that is another one after [`addresses`](Self::addresses) changed.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Every address that a pod has, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.pods.keys().copied()
    }

    /// The pod that has an address; of two, the first by name.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&ObjectName> {
        Some(&self.pods.get(&address)?.first()?.name)
    }

    /// All pods that have an address.
    pub fn all_of(&self, address: IpAddr) -> impl Iterator<Item = &ObjectName> {
        self.pods.get(&address).into_iter().flatten().map(|owner| &owner.name)
    }

    fn changed(&self, address: &IpAddr, before: &BTreeSet<Owner>) -> bool {
        self.pods.get(address).is_none_or(|owners| !owners.is_subset(before))
    }

    fn insert(&mut self, name: &ObjectName, pod: &Pod) {
        for address in addresses(pod) {
            self.pods.entry(address).or_default().insert(Owner::of(name, pod));
        }
    }

    fn remove(&mut self, name: &ObjectName, pod: &Pod) {
        for address in addresses(pod) {
            if let Some(owners) = self.pods.get_mut(&address) {
                owners.remove(&Owner::of(name, pod));
                if owners.is_empty() {
                    self.pods.remove(&address);
                }
            }
        }
    }
}

impl Owner {
    fn of(name: &ObjectName, pod: &Pod) -> Self {
        let mut hasher = DefaultHasher::new();
        pod.uid.hash(&mut hasher);
        Self { name: name.clone(), uid: hasher.finish() }
    }
}

/// Addresses that a pod has to itself as long as it lives.
fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    pod.is_subject().then(|| pod.usable_addresses()).into_iter().flatten()
}
