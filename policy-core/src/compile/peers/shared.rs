//! Addresses that several pods have, for a moment or by mistake.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    compile::{
        peers::sets::{ListSetId, ListSets},
        rules::{
            lists::{ListId, PeerLists},
            peer_list::PeerList,
        },
    },
    fault::{Effect, Fault, Problem},
    model::{FieldPath, Kind, ObjectName, ObjectRef, Snapshot},
};

/// The lists that match an address of several pods, from the set of each pod: the lists that match
/// all of the pods, and of those that deny, the ones that match any.
pub(super) fn set_of(of_each: &[ListSetId], lists: &PeerLists, sets: &mut ListSets) -> ListSetId {
    // To allow what only one of the pods may do would open it to the others; to deny it is safe.
    let common = of_each.iter().copied().reduce(|a, b| sets.intersection(a, b));
    let all = of_each.iter().flat_map(|set| sets.get(*set).iter().copied());
    let any_owner = |id: &ListId| lists.get(*id).is_some_and(PeerList::any_owner);
    let some: Vec<ListId> = all.filter(any_owner).collect();
    let some = sets.intern(some);
    common.map_or(some, |common| sets.union(common, some))
}

/// The fault of an address that several pods of these namespaces have, at the first of them.
pub(super) fn fault<'a>(
    address: IpAddr,
    namespaces: impl Iterator<Item = &'a str>,
    snapshot: &Snapshot,
) -> Option<Fault> {
    let namespaces: BTreeSet<&str> = namespaces.collect();
    // Groups do not know their pods by name, but the pods are in the groups' namespaces.
    let pods = namespaces.into_iter().flat_map(|namespace| {
        let from = snapshot.pods.range(ObjectName::new(namespace, "")..);
        from.take_while(move |(name, _)| name.namespace == namespace)
    });
    let owners = pods.filter(|(_, pod)| pod.is_subject() && pod.addresses.contains(&address));
    let pods: Vec<ObjectName> = owners.map(|(name, _)| name.clone()).collect();
    Some(Fault {
        object: ObjectRef::namespaced(Kind::Pod, pods.first()?),
        field: FieldPath::root().field("status").field("podIPs"),
        problem: Problem::SharedAddress { address, pods },
        effect: Effect::MatchedByCommonPeers,
    })
}
