//! Whose an address is, and when that changes (S8).

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use crate::model::{ObjectName, Pod, Snapshot};

/// The pods that each address belongs to: one, or for a moment two, where an address is given out
/// again before its last pod is gone from the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(BTreeMap<IpAddr, BTreeSet<Owner>>);

/// A pod: its name, and a number that is made of its UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    name: ObjectName,
    uid: u64,
}

impl Owners {
    /// Takes a snapshot over; the addresses that are no longer the same pod's.
    ///
    /// An address that nobody had is none of them, nor one that keeps its pod while another, that
    /// had it before, goes.
    pub fn update(&mut self, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
        let mut owners = Self::default();
        for (name, pod) in &snapshot.pods {
            owners.insert(name, pod);
        }
        let before = std::mem::replace(self, owners).0;
        let changed = before.into_iter().filter(|(address, before)| self.changed(address, before));
        changed.map(|(address, _)| address).collect()
    }

    /// Takes a change of one pod over; as [`update`](Self::update).
    pub fn change(
        &mut self,
        name: &ObjectName,
        old: Option<&Pod>,
        new: Option<&Pod>,
    ) -> BTreeSet<IpAddr> {
        let pods = old.iter().chain(&new);
        let addresses: BTreeSet<IpAddr> = pods.flat_map(|pod| pod.usable_addresses()).collect();
        let of = |owners: &Self| -> Vec<_> {
            let owners = addresses.iter().map(|address| (*address, owners.0.get(address).cloned()));
            owners.filter_map(|(address, owners)| Some((address, owners?))).collect()
        };
        let before = of(self);
        if let Some(old) = old {
            self.remove(name, old);
        }
        if let Some(new) = new {
            self.insert(name, new);
        }
        let changed = before.into_iter().filter(|(address, before)| self.changed(address, before));
        changed.map(|(address, _)| address).collect()
    }

    /// The pod that has an address; of two the first by name.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&ObjectName> {
        Some(&self.0.get(&address)?.first()?.name)
    }

    fn changed(&self, address: &IpAddr, before: &BTreeSet<Owner>) -> bool {
        self.0.get(address).is_none_or(|owners| !owners.is_subset(before))
    }

    fn insert(&mut self, name: &ObjectName, pod: &Pod) {
        for address in addresses(pod) {
            self.0.entry(address).or_default().insert(Owner::of(name, pod));
        }
    }

    fn remove(&mut self, name: &ObjectName, pod: &Pod) {
        for address in addresses(pod) {
            if let Some(owners) = self.0.get_mut(&address) {
                owners.remove(&Owner::of(name, pod));
                if owners.is_empty() {
                    self.0.remove(&address);
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
