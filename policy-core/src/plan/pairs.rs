//! The pod of each interface.
//!
//! Input: the kernel's endpoints, the desired endpoints, and the interfaces, each with what is known of
//! its owner. Output: [`Pairs`], from which [`super::endpoint`] makes endpoints. Where nothing else names
//! the pod, addresses do:
//!
//! ```text
//! pods          a = 10.0.0.1    b = 10.0.0.2, fd00::2
//! 11: 10.0.0.1                  `a`
//! 12: 10.0.0.1, fd00::2, 10.0.0.2   `b`, which has more of its addresses
//! 13: 10.0.0.9, endpoint 10.0.0.1   `a`: the kernel has its endpoint there, whatever it has now
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_common::endpoint::Endpoint;

use crate::{
    desired::{Desired, DesiredEndpoint},
    model::ObjectName,
};

use super::{
    actual::Actual,
    input::{Interface, InterfaceOwner, Interfaces},
};

/// Interfaces with their pods.
pub(super) struct Pairs<'a> {
    pub(super) at_interfaces: Vec<(&'a Interface, &'a ObjectName, &'a DesiredEndpoint)>,
    /// Pods that have an interface.
    pub(super) found: BTreeSet<&'a ObjectName>,
    pub(super) interfaces_without_pod: Vec<u32>,
    /// Interfaces with an address of a pod that has another interface.
    pub(super) conflicts: Vec<&'a Interface>,
}

/// Finds the pod of each interface.
pub(super) fn pair<'a>(
    actual: &Actual,
    desired: &'a Desired,
    interfaces: &'a Interfaces,
) -> Pairs<'a> {
    // Several: for a moment a new pod may have the address of one that is being deleted.
    let mut owners: BTreeMap<IpAddr, Vec<&ObjectName>> = BTreeMap::new();
    for (name, endpoint) in &desired.endpoints {
        for address in &endpoint.addresses {
            owners.entry(*address).or_default().push(name);
        }
    }
    let known = known_pods(actual, desired, interfaces);
    let mut pairs = Pairs {
        at_interfaces: Vec::new(),
        found: BTreeSet::new(),
        interfaces_without_pod: Vec::new(),
        conflicts: Vec::new(),
    };
    for interface in interfaces.values() {
        let found = match &interface.owner {
            // A pod may change the addresses of its own interface, so a known pod goes first.
            InterfaceOwner::ByAddress => {
                let known = known.get(&interface.ifindex).copied();
                known.or_else(|| best_owner(&owners, interface))
            }
            InterfaceOwner::Pod(name) => {
                desired.endpoints.get_key_value(name).map(|(name, _)| name)
            }
            InterfaceOwner::Orphan => None,
            InterfaceOwner::Conflict(_) => {
                pairs.conflicts.push(interface);
                None
            }
        };
        let Some(name) = found else {
            pairs.interfaces_without_pod.push(interface.ifindex);
            continue;
        };
        pairs.found.insert(name);
        pairs.at_interfaces.push((interface, name, &desired.endpoints[name]));
    }
    pairs
}

/// The pod of each endpoint of the kernel at an interface that is still there, by interface.
fn known_pods<'a>(
    actual: &Actual,
    desired: &'a Desired,
    interfaces: &Interfaces,
) -> BTreeMap<u32, &'a ObjectName> {
    let mut pods: BTreeMap<([u8; 4], [u8; 16]), Option<&ObjectName>> = BTreeMap::new();
    for (name, endpoint) in &desired.endpoints {
        let addresses = by_family(&endpoint.addresses);
        // Two pods with the same addresses are not distinguishable, so neither is known.
        pods.entry(addresses).and_modify(|pod| *pod = None).or_insert(Some(name));
    }
    let has_address = |old: &&Endpoint| old.address4 != [0; 4] || old.address6 != [0; 16];
    let there = actual.endpoints.values().filter(|old| interfaces.contains_key(&old.ifindex));
    let there = there.filter(has_address);
    there
        .filter_map(|old| Some((old.ifindex, (*pods.get(&(old.address4, old.address6))?)?)))
        .collect()
}

/// The pod that has most of an interface's addresses; of several the first by name.
fn best_owner<'a>(
    owners: &BTreeMap<IpAddr, Vec<&'a ObjectName>>,
    interface: &Interface,
) -> Option<&'a ObjectName> {
    // While a pod with 10.0.0.1 is being deleted, a new one may have 10.0.0.1 and fd00::1. An
    // interface with both addresses is the new pod's: it has two of two there, the old one has one.
    let mut count: BTreeMap<&ObjectName, usize> = BTreeMap::new();
    for name in interface.addresses.iter().filter_map(|address| owners.get(address)).flatten() {
        *count.entry(name).or_default() += 1;
    }
    let most = *count.values().max()?;
    count.into_iter().find(|(_, found)| *found == most).map(|(name, _)| name)
}

/// The first address of each family, zero for none.
pub(super) fn by_family(addresses: &[IpAddr]) -> ([u8; 4], [u8; 16]) {
    let four = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    });
    let six = addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(address.octets()),
        IpAddr::V4(_) => None,
    });
    (four.unwrap_or_default(), six.unwrap_or_default())
}
