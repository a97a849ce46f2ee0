//! Which pod is at which interface, and the endpoint that the plan gives it.
//!
//! Input: the kernel's endpoints, the desired endpoints (pods with addresses), the interfaces that
//! discovery found (with the addresses of their peers). Output: a [`Matching`], which sorts all of
//! them into matched pods, pods without an interface, interfaces without a pod, endpoints to delete
//! and endpoints to close. Example:
//!
//! ```text
//! kernel:     11 = 10.0.0.1   12 = 10.0.0.2   13 = 10.0.0.3 (isolated)   14 = 10.0.0.4
//! desired:    a = 10.0.0.1    b = 10.0.0.9
//! interfaces: 11: 10.0.0.1    12: 10.0.0.9    13: 10.0.0.3
//!
//! 11 is matched with `a`, which it had before.
//! 12 is matched with `b`, which replaces the pod that was there.
//! 13 is an orphan: its pod is gone, its interface is not, and it was isolated. It is closed.
//! 14 is gone, and its endpoint is deleted.
//! ```
//!
//! An interface with an address of a pod that has another interface, and a new pod for which no slot is
//! free, get an endpoint at which nothing passes. It has no slot.

use std::{collections::BTreeSet, net::IpAddr};

use policy_common::endpoint::{CLOSED, Endpoint, flags};

use crate::{
    desired::{Desired, DesiredEndpoint, Isolation},
    model::{DenyReply, Direction, ObjectName},
};

use super::{
    actual::Actual,
    input::{Interface, Interfaces, PlanOptions},
    pairs::{Pairs, by_family, pair},
};

/// A pod at its interface.
pub(super) struct MatchedPod<'a> {
    pub(super) desired: &'a DesiredEndpoint,
    /// The kernel's endpoint there, if it is that of the same pod.
    pub(super) old: Option<&'a Endpoint>,
    /// The kernel's endpoint there, if it is that of another pod.
    pub(super) replaced: Option<&'a Endpoint>,
    /// Whether the interface passed nothing so far, so that there are no connections to keep.
    guarded: bool,
    /// The endpoint that the plan gives it, without allow maps.
    pub(super) new: Endpoint,
}

/// Pods, interfaces and endpoints, each in one group.
pub(super) struct Matching<'a> {
    pub(super) matched: Vec<MatchedPod<'a>>,
    pub(super) pods_without_interface: Vec<ObjectName>,
    pub(super) interfaces_without_pod: Vec<u32>,
    pub(super) pods_without_slot: Vec<ObjectName>,
    /// Endpoints at which nothing passes, each with that of another pod which it replaces.
    pub(super) refused: Vec<(Option<&'a Endpoint>, Endpoint)>,
    /// Endpoints of pods that are gone, with no other pod in their place.
    pub(super) gone: Vec<&'a Endpoint>,
    /// Isolated endpoints of pods that are gone, at interfaces that are still there. The pod may still
    /// run although its API object is deleted; deleting the object must not open it.
    pub(super) orphans: Vec<Orphan<'a>>,
}

/// An endpoint of a pod that is gone, at an interface that is still there.
pub(super) struct Orphan<'a> {
    old: &'a Endpoint,
    /// The endpoint that the plan gives it: nothing passes in a direction that was isolated.
    pub(super) closed: Endpoint,
}

impl<'a> Orphan<'a> {
    /// `None` where nothing isolated it.
    fn of(old: &'a Endpoint) -> Option<Self> {
        let of = |allow_map: u32| if allow_map == 0 { 0 } else { CLOSED };
        let (ingress, egress) = (of(old.ingress), of(old.egress));
        let closed = Endpoint { ingress, egress, ..*old };
        (ingress | egress != 0).then_some(Self { old, closed })
    }

    /// Whether it is closed already.
    pub(super) fn is_closed(&self) -> bool {
        *self.old == self.closed
    }
}

impl<'a> MatchedPod<'a> {
    /// Whether the pod becomes isolated, in place of being open: connections that exist must be
    /// recorded first (S30).
    pub(super) fn becomes_isolated(&self) -> bool {
        // Isolated in one direction, an endpoint records the flows of both: a second direction needs no
        // adoption.
        let was_open = self.old.is_none_or(|old| old.ingress | old.egress == 0);
        self.is_isolated() && self.replaced.is_none() && was_open && !self.guarded
    }

    /// Whether the kernel has no endpoint of the pod yet, or one that an abandoned plan left tracking.
    pub(super) fn is_new(&self) -> bool {
        self.old.is_none_or(|old| old.flags & flags::TRACKING != 0)
    }

    /// The allow map that the endpoint has in a direction, and the isolation that it gets; `None`
    /// where it is not isolated.
    pub(super) fn isolation(&self, direction: Direction) -> (Option<u32>, Option<&'a Isolation>) {
        let old = self.old.map(|old| match direction {
            Direction::Ingress => old.ingress,
            Direction::Egress => old.egress,
        });
        (old.filter(|allow_map| *allow_map != 0), self.desired.isolation[direction].as_ref())
    }

    /// Whether some policy isolates the pod.
    pub(super) fn is_isolated(&self) -> bool {
        self.desired.isolation.values().any(Option::is_some)
    }

    /// The endpoint while it tracks: every packet passes, and every connection is recorded.
    pub(super) fn tracked(&self) -> Endpoint {
        Endpoint { flags: self.new.flags | flags::TRACKING, ..self.new }
    }

    /// The endpoint that passes nothing in each isolated direction. It needs no allow map.
    pub(super) fn closed(&self) -> Endpoint {
        let of = |isolated: bool| if isolated { CLOSED } else { 0 };
        let ingress = of(self.desired.isolation.ingress.is_some());
        let egress = of(self.desired.isolation.egress.is_some());
        Endpoint { ingress, egress, ..self.new }
    }
}

/// Matches pods and interfaces by their addresses.
pub(super) fn matching<'a>(
    actual: &'a Actual,
    desired: &'a Desired,
    interfaces: &'a Interfaces,
    options: PlanOptions,
) -> Matching<'a> {
    let Pairs { at_interfaces, found, interfaces_without_pod, conflicts } =
        pair(actual, desired, interfaces);
    let (matched, without_slot) = give_slots(actual, at_interfaces, options);
    let pods_without_slot = without_slot.iter().map(|(_, name)| (*name).clone()).collect();
    let (mut gone, mut orphans, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (interface, name) in without_slot {
        let closed = closed_endpoint(interface, &desired.endpoints[name].addresses);
        let there = actual.endpoints.get(&interface.ifindex);
        refused.push((there.filter(|there| there.slot != 0), closed));
    }
    for interface in conflicts {
        match actual.endpoints.get(&interface.ifindex) {
            Some(old) => {
                let closed = Endpoint { ingress: CLOSED, egress: CLOSED, ..*old };
                orphans.push(Orphan { old, closed });
            }
            None => refused.push((None, closed_endpoint(interface, &[]))),
        }
    }
    let of_matched = matched.iter().map(|matched| matched.new.ifindex);
    let of_orphans = orphans.iter().map(|orphan: &Orphan<'_>| orphan.closed.ifindex);
    let of_refused = refused.iter().map(|(_, closed)| closed.ifindex);
    let present: BTreeSet<u32> = of_matched.chain(of_orphans).chain(of_refused).collect();
    for old in actual.endpoints.values().filter(|old| !present.contains(&old.ifindex)) {
        // An endpoint that nothing isolated is deleted even if its interface stays: there is no verdict
        // that could be lost.
        match Orphan::of(old).filter(|_| interfaces.contains_key(&old.ifindex)) {
            Some(orphan) => orphans.push(orphan),
            None => gone.push(old),
        }
    }
    let missing = desired.endpoints.keys().filter(|name| !found.contains(name));
    let pods_without_interface = missing.cloned().collect();
    Matching {
        matched,
        pods_without_interface,
        interfaces_without_pod,
        pods_without_slot,
        refused,
        gone,
        orphans,
    }
}

/// An interface and the pod there.
type AtInterface<'a> = (&'a Interface, &'a ObjectName);

/// Gives each pod at an interface its slot: the one of its endpoint, or a free one. Returns also those
/// for which no slot is free.
fn give_slots<'a>(
    actual: &'a Actual,
    pairs: Vec<(&'a Interface, &'a ObjectName, &'a DesiredEndpoint)>,
    options: PlanOptions,
) -> (Vec<MatchedPod<'a>>, Vec<AtInterface<'a>>) {
    // A slot that this plan frees is not reused in the same plan: flows still carry it.
    let taken: BTreeSet<u32> = actual.endpoints.values().map(|old| old.slot).collect();
    let slots = u32::try_from(options.slots).unwrap_or(u32::MAX);
    let mut free = (1..slots).filter(|slot| !taken.contains(slot));
    let (mut matched, mut without_slot) = (Vec::new(), Vec::new());
    for (interface, name, desired) in pairs {
        let there = actual.endpoints.get(&interface.ifindex);
        let old = there.filter(|there| is_same_pod(there, &desired.addresses));
        let replaced = there.filter(|_| old.is_none());
        let own = old.map(|old| old.slot).filter(|slot| *slot != 0);
        let Some(slot) = own.or_else(|| free.next()) else {
            without_slot.push((interface, name));
            continue;
        };
        let new = endpoint(interface, desired, slot, options);
        // What the kernel has an endpoint for has passed packets already.
        let guarded = interface.guarded && there.is_none();
        matched.push(MatchedPod { desired, old, replaced, guarded, new });
    }
    (matched, without_slot)
}

/// Whether an endpoint can be that of a pod with these addresses: they differ in no family that
/// both have.
pub(crate) fn is_same_pod(old: &Endpoint, addresses: &[IpAddr]) -> bool {
    let (four, six) = by_family(addresses);
    // A pod may get its second address later, and an agent may know of one before the other: an
    // endpoint with 10.0.0.1 alone stays that of the pod with 10.0.0.1 and fd00::1. As
    // another pod's, its flows would be deleted and its connections judged as new ones.
    let agree4 = old.address4 == [0; 4] || four == [0; 4] || old.address4 == four;
    let agree6 = old.address6 == [0; 16] || six == [0; 16] || old.address6 == six;
    agree4 && agree6
}

/// The endpoint of a pod, without allow maps.
fn endpoint(
    interface: &Interface,
    desired: &DesiredEndpoint,
    slot: u32,
    options: PlanOptions,
) -> Endpoint {
    let (address4, address6) = by_family(&desired.addresses);
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    let rejects = desired.deny_reply.unwrap_or(options.deny_reply) == DenyReply::Reject;
    let flags = flag(options.may_spoof || desired.may_spoof, flags::MAY_SPOOF)
        | flag(rejects, flags::REJECT)
        | flag(desired.is_tracked, flags::TRACKING);
    Endpoint {
        ifindex: interface.ifindex,
        slot,
        ingress: 0,
        egress: 0,
        flags,
        bridge: interface.bridge,
        address4,
        address6,
    }
}

/// An endpoint at which nothing passes, without a slot.
fn closed_endpoint(interface: &Interface, addresses: &[IpAddr]) -> Endpoint {
    let (address4, address6) = by_family(addresses);
    Endpoint {
        ifindex: interface.ifindex,
        ingress: CLOSED,
        egress: CLOSED,
        bridge: interface.bridge,
        address4,
        address6,
        ..Endpoint::default()
    }
}
