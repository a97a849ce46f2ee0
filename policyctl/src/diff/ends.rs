//! What to compare.

use std::collections::BTreeMap;

use policy_core::model::{Direction, NetworkPolicy, ObjectName, Phase, Snapshot};
use policy_manifest::{End, Manifests};

use super::regions;

/// Pods that run and have an address on one side only, as notes; they are not compared.
pub(super) fn only_in_one(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let missing = |from: &Snapshot, in_: &Snapshot, word: &str| {
        let names = from.pods.keys().filter(|name| is_live(from, name) && !is_live(in_, name));
        let names: Vec<String> = names.map(ToString::to_string).collect();
        let told = || {
            format!("only the {word} side has these running, with an address: {}", names.join(", "))
        };
        (!names.is_empty()).then(told)
    };
    missing(old, new, "old").into_iter().chain(missing(new, old, "new")).collect()
}

/// Whether a pod runs and has an address.
fn is_live(side: &Snapshot, name: &ObjectName) -> bool {
    let pod = side.pods.get(name);
    pod.is_some_and(|pod| pod.phase == Phase::Live && !pod.addresses.is_empty())
}

/// Every end that both sides have: pods, hosts, and addresses that blocks tell apart.
pub(super) fn common(old: &Manifests, new: &Manifests) -> Vec<End> {
    let pods = old.snapshot.pods.keys();
    let pods = pods.filter(|name| is_live(&old.snapshot, name) && is_live(&new.snapshot, name));
    let hosts = old.hosts.iter().filter(|(name, host)| new.hosts.get(*name) == Some(host));
    let both = [&old.snapshot, &new.snapshot];
    // Pods of both sides are ends by themselves; those with hostNetwork share the address of a node,
    // which others come from too.
    let of_pods = pods.clone().flat_map(|name| {
        let pods = both.into_iter().filter_map(|side| side.pods.get(name));
        pods.filter(|pod| !pod.host_network).flat_map(|pod| &pod.addresses)
    });
    let addresses = regions::addresses(both, &of_pods.copied().collect());
    pods.map(|name| End::Pod(name.clone()))
        .chain(hosts.map(|(name, _)| End::Host(name.clone())))
        .chain(addresses.into_iter().map(End::Address))
        .collect()
}

/// Services that both sides have, and that can be reached by an address.
pub(super) fn services(old: &Snapshot, new: &Snapshot) -> Vec<End> {
    let reachable = |side: &Snapshot, name: &ObjectName| {
        let service = side.services.get(name);
        service.is_some_and(|one| !one.cluster_ips.is_empty() && !one.ports.is_empty())
    };
    let both = old.services.keys().filter(|name| reachable(old, name) && reachable(new, name));
    both.map(|name| End::Service(name.clone())).collect()
}

/// Whether anything but pods, namespaces and their policies differs: that may concern every pair.
pub(super) fn rest_differs(old: &Snapshot, new: &Snapshot) -> bool {
    let rest = |side: &Snapshot| Snapshot {
        namespaces: BTreeMap::new(),
        pods: BTreeMap::new(),
        policies: BTreeMap::new(),
        ..side.clone()
    };
    rest(old) != rest(new)
}

/// Whether what decides about connections of `end` in a direction may differ between the sides:
/// policies that select it, or what policies of others see of it.
pub(super) fn touched(old: &Snapshot, new: &Snapshot, end: &End, direction: Direction) -> bool {
    let End::Pod(name) = end else {
        return false;
    };
    seen(old, new, name) || selecting(old, name, direction) != selecting(new, name, direction)
}

/// Whether policies see another pod there.
fn seen(old: &Snapshot, new: &Snapshot, name: &ObjectName) -> bool {
    old.pods.get(name) != new.pods.get(name)
        || old.namespace_labels(&name.namespace) != new.namespace_labels(&name.namespace)
}

fn selecting<'a>(
    snapshot: &'a Snapshot,
    name: &'a ObjectName,
    direction: Direction,
) -> Vec<(&'a ObjectName, &'a NetworkPolicy)> {
    let pod = snapshot.pods.get(name);
    let policies = snapshot.policies_of(&name.namespace);
    policies
        .filter(|(_, policy)| {
            policy.applies(direction) && pod.is_some_and(|pod| policy.selects(&pod.labels))
        })
        .collect()
}
