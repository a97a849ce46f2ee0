//! Which pod each interface of the node belongs to.
//!
//! Input: the interfaces that discovery found, the interfaces that the container runtime named, the
//! desired endpoints and those of the kernel. Output: the [`InterfaceOwner`] of each interface. A pod
//! that may change its network gives its interface any address, so addresses count last:
//!
//! 1. The runtime's cache or the plugin names the interface: it is that pod's, and the pod has no other.
//! 2. It was found to be a pod's before: it is that pod's while the pod has the address that led to it.
//!    Once the pod is gone, it is an orphan.
//! 3. It has an endpoint, of an earlier agent, with the addresses of one pod: it is that pod's.
//! 4. It has an address of a pod, and no other interface has it.
//!
//! Example: `a` has 10.0.0.1 and `b` 10.0.0.2; the runtime names nothing.
//!
//! ```text
//! 11: 10.0.0.1             `a`
//! 12: 10.0.0.2             `b`
//! 11: 10.0.0.2             still `a`
//! 13: 10.0.0.2             conflict: the address is that of `b`, which has 12. Nothing passes at 13
//! 12: 10.0.0.2, `b` gone   an orphan; a new pod with 10.0.0.2 makes it a conflict
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_common::endpoint::Endpoint;

use crate::{
    desired::{Desired, DesiredEndpoint},
    model::ObjectName,
    plan::{Interface, InterfaceOwner, Interfaces, is_same_pod},
};

use super::{Intent, hints::share};

/// What is known of the interfaces' owners.
#[derive(Debug, Default)]
pub(super) struct InterfaceOwners {
    bound: BTreeMap<u32, Binding>,
}

/// The pod that an interface belongs to.
#[derive(Debug)]
struct Binding {
    pod: Instance,
    /// The pod's addresses that led to it.
    addresses: Vec<IpAddr>,
}

impl Binding {
    /// Whether the pod still has an address that led to it. Otherwise the status was stale, or the pod has
    /// another sandbox now.
    fn is_still(&self, addresses: &[IpAddr]) -> bool {
        self.addresses.is_empty() || share(&self.addresses, addresses)
    }
}

/// One pod, not another of the same name: its UID; its name where it has none, as in manifests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Instance {
    Uid(String),
    Name(ObjectName),
}

impl Instance {
    fn new(name: &ObjectName, uid: &str) -> Self {
        if uid.is_empty() { Self::Name(name.clone()) } else { Self::Uid(uid.to_owned()) }
    }
}

/// Addresses of each pod that lead to an interface of its own.
type TakenAddresses<'a> = BTreeMap<&'a ObjectName, Vec<IpAddr>>;

impl Intent {
    /// Decides which pod each interface belongs to.
    pub fn assign(&mut self, interfaces: &mut Interfaces, endpoints: &BTreeMap<u32, Endpoint>) {
        let named = self.hints.named_interfaces(self.compiler.snapshot());
        let desired = self.compiler.compiled().0;
        self.interfaces.assign(interfaces, desired, &named, endpoints);
    }

    /// The interfaces of pods that exist, whatever addresses are there.
    #[must_use]
    pub fn known_interfaces(&self) -> BTreeSet<u32> {
        let mut known = self.interfaces.of_known_pods(self.desired_by_policies());
        // Of a pod without an object, only addresses show that the interface is still its own.
        known.retain(|ifindex| !self.departed.is_at(*ifindex));
        known
    }
}

impl InterfaceOwners {
    /// The interfaces of pods that exist: the addresses there do not matter.
    pub(super) fn of_known_pods(&self, desired: &Desired) -> BTreeSet<u32> {
        let pods = by_instance(desired);
        let is_its = |binding: &Binding| {
            pods.get(&binding.pod).is_some_and(|(_, pod)| binding.is_still(&pod.addresses))
        };
        let known = self.bound.iter().filter(|(_, binding)| is_its(binding));
        known.map(|(ifindex, _)| *ifindex).collect()
    }

    /// Sets the owner of each interface. `named` has the pods of the interfaces that the runtime named.
    pub(super) fn assign(
        &mut self,
        interfaces: &mut Interfaces,
        desired: &Desired,
        named: &BTreeMap<String, ObjectName>,
        endpoints: &BTreeMap<u32, Endpoint>,
    ) {
        self.bound.retain(|ifindex, _| interfaces.contains_key(ifindex));
        let mut taken = TakenAddresses::new();
        let mut undecided = Vec::new();
        let present: BTreeSet<&String> = interfaces.values().map(|one| &one.name).collect();
        for (_, pod) in named.iter().filter(|(name, _)| present.contains(name)) {
            if let Some((pod, endpoint)) = desired.endpoints.get_key_value(pod) {
                taken.insert(pod, endpoint.addresses.clone());
            }
        }
        let has_named: BTreeSet<&ObjectName> = taken.keys().copied().collect();
        let instances = by_instance(desired);
        for interface in interfaces.values_mut() {
            let ifindex = interface.ifindex;
            let binding = self.bound.get(&ifindex);
            let bound_to = binding.map(|binding| (binding, instances.get(&binding.pod)));
            // One that was closed before any pod was known there has no address.
            let has_address =
                |there: &&Endpoint| there.address4 != [0; 4] || there.address6 != [0; 16];
            let there = endpoints.get(&ifindex).filter(has_address);
            let there = there.map(|there| pods_at(there, desired));
            interface.owner = if let Some(pod) = named.get(&interface.name)
                && desired.endpoints.contains_key(pod)
            {
                InterfaceOwner::Pod(pod.clone())
            } else if let Some((_, None)) = bound_to {
                InterfaceOwner::Orphan
            } else if let Some((binding, Some((name, pod)))) = bound_to
                && binding.is_still(&pod.addresses)
            {
                owner(name, &has_named)
            } else if let Some([pod]) = there.as_deref() {
                owner(pod, &has_named)
            } else if let Some([]) = there.as_deref() {
                InterfaceOwner::Orphan
            } else {
                undecided.push(ifindex);
                continue;
            };
            if let InterfaceOwner::Pod(pod) = &interface.owner
                && let Some((name, endpoint)) = desired.endpoints.get_key_value(pod)
            {
                let addresses = &binding.map_or(&endpoint.addresses, |binding| &binding.addresses);
                taken.entry(name).or_default().extend(addresses.iter());
            }
        }
        by_address(undecided, interfaces, desired, &mut taken);
        for interface in interfaces.values_mut() {
            self.remember(interface, desired);
        }
    }

    /// Remembers the owner of an interface for ever, and closes an orphan that has a pod's address.
    fn remember(&mut self, interface: &mut Interface, desired: &Desired) {
        match &interface.owner {
            InterfaceOwner::Pod(name) => {
                let pod = &desired.endpoints[name];
                let instance = Instance::new(name, &pod.uid);
                let known = self.bound.get(&interface.ifindex);
                let is_known =
                    |known: &Binding| known.pod == instance && known.is_still(&pod.addresses);
                if !known.is_some_and(is_known) {
                    let mut addresses = interface.addresses.clone();
                    addresses.retain(|address| pod.addresses.contains(address));
                    self.bound.insert(interface.ifindex, Binding { pod: instance, addresses });
                }
            }
            InterfaceOwner::Orphan => {
                let mut pods = desired.endpoints.iter();
                let of_other = pods.find(|(_, pod)| share(&pod.addresses, &interface.addresses));
                if let Some((name, _)) = of_other {
                    interface.owner = InterfaceOwner::Conflict(name.clone());
                }
            }
            InterfaceOwner::ByAddress | InterfaceOwner::Conflict(_) => {}
        }
    }
}

/// Every pod, by its instance.
fn by_instance(desired: &Desired) -> BTreeMap<Instance, (&ObjectName, &DesiredEndpoint)> {
    let pods = desired.endpoints.iter();
    pods.map(|(name, pod)| (Instance::new(name, &pod.uid), (name, pod))).collect()
}

/// The owner of an interface that was found to be a pod's, unless the runtime has named another since.
fn owner(pod: &ObjectName, has_named: &BTreeSet<&ObjectName>) -> InterfaceOwner {
    if has_named.contains(pod) {
        InterfaceOwner::Conflict(pod.clone())
    } else {
        InterfaceOwner::Pod(pod.clone())
    }
}

/// Decides by addresses. An interface that can be of one pod alone goes first: what it has is taken for
/// those that have addresses of several.
fn by_address<'a>(
    mut undecided: Vec<u32>,
    interfaces: &mut Interfaces,
    desired: &'a Desired,
    taken: &mut TakenAddresses<'a>,
) {
    loop {
        let mut certain: BTreeMap<&ObjectName, Vec<u32>> = BTreeMap::new();
        for ifindex in &undecided {
            if let Some(pod) = only_candidate(&interfaces[ifindex], desired, taken) {
                certain.entry(pod).or_default().push(*ifindex);
            }
        }
        if certain.is_empty() {
            break;
        }
        for (pod, at) in certain {
            let addresses: Vec<IpAddr> =
                at.iter().flat_map(|ifindex| interfaces[ifindex].addresses.clone()).collect();
            let own = addresses.iter().filter(|one| desired.endpoints[pod].addresses.contains(one));
            let own: Vec<IpAddr> = own.copied().collect();
            let distinct: BTreeSet<&IpAddr> = own.iter().collect();
            // Which of two interfaces with the same address is the pod's is unknown.
            let is_shared = distinct.len() < own.len();
            for ifindex in at {
                undecided.retain(|other| *other != ifindex);
                if let Some(interface) = interfaces.get_mut(&ifindex) {
                    interface.owner = if is_shared {
                        InterfaceOwner::Conflict(pod.clone())
                    } else {
                        InterfaceOwner::Pod(pod.clone())
                    };
                }
            }
            taken.entry(pod).or_default().extend(own);
        }
    }
    for ifindex in undecided {
        let Some(interface) = interfaces.get_mut(&ifindex) else { continue };
        let mut pods = desired.endpoints.iter();
        let claimed = pods.find(|(_, pod)| share(&pod.addresses, &interface.addresses));
        if let Some((name, _)) = claimed {
            interface.owner = InterfaceOwner::Conflict(name.clone());
        }
    }
}

/// The pod that an interface must be of, by its addresses. Of several pods with the same address, which
/// the API server has for a moment, it is the first by name.
fn only_candidate<'a>(
    interface: &Interface,
    desired: &'a Desired,
    taken: &TakenAddresses<'_>,
) -> Option<&'a ObjectName> {
    let pods = desired.endpoints.iter().filter(|(name, pod)| {
        let taken = taken.get(name).map(Vec::as_slice).unwrap_or_default();
        share(&pod.addresses, &interface.addresses) && !share(taken, &interface.addresses)
    });
    let own = |addresses: &[IpAddr]| -> BTreeSet<IpAddr> {
        let own = addresses.iter().filter(|address| interface.addresses.contains(address));
        own.copied().collect()
    };
    let mut pods = pods.map(|(name, pod)| (name, own(&pod.addresses)));
    let (first, addresses) = pods.next()?;
    pods.all(|(_, others)| others == addresses).then_some(first)
}

/// The pods that an endpoint of the kernel may be of: their addresses differ in no family that both have.
fn pods_at<'a>(endpoint: &Endpoint, desired: &'a Desired) -> Vec<&'a ObjectName> {
    let pods = desired.endpoints.iter();
    let pods = pods.filter(|(_, pod)| {
        let has = pod.addresses.iter().any(|address| endpoint.has(*address));
        has && is_same_pod(endpoint, &pod.addresses)
    });
    pods.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests;
