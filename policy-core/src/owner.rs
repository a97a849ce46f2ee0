//! Whose an address is, and when that changes (S8).

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use crate::model::{ObjectName, Pod, Snapshot};

/// A pod, by a number that is made of its name and UID.
type Owner = u64;

/// The pods that each address belongs to: one, or for a moment two, where an address is given out
/// again before its last pod is gone from the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(BTreeMap<IpAddr, BTreeSet<Owner>>);

impl Owners {
    /// Takes a snapshot over; the addresses that are no longer the same pod's.
    ///
    /// An address that nobody had is none of them, nor one that keeps its pod while another, that
    /// had it before, goes.
    pub fn update(&mut self, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
        let mut owners: BTreeMap<IpAddr, BTreeSet<Owner>> = BTreeMap::new();
        for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| pod.is_subject()) {
            for address in pod.usable_addresses() {
                owners.entry(address).or_default().insert(owner(name, pod));
            }
        }
        let before = std::mem::replace(&mut self.0, owners);
        let changed = before.into_iter().filter(|(address, before)| {
            self.0.get(address).is_none_or(|owners| !owners.is_subset(before))
        });
        changed.map(|(address, _)| address).collect()
    }
}

fn owner(name: &ObjectName, pod: &Pod) -> Owner {
    let mut hasher = DefaultHasher::new();
    (name, &pod.uid).hash(&mut hasher);
    hasher.finish()
}
