//! The ends of connections that `diff` compares: pods, hosts, Services and addresses that both
//! sides have.

use std::collections::BTreeMap;

use policy_core::model::{Direction, NetworkPolicy, ObjectName, Phase, Snapshot};
use policy_manifest::{End, Manifests};

use super::regions;

/// Notes about pods that run and have an address on one side only; they are not compared.
pub(super) fn only_in_one(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let missing = |from: &Snapshot, in_: &Snapshot, word: &str| {
        let names = from.pods.keys().filter(|name| is_live(from, name) && !is_live(in_, name));
        let names: Vec<String> = names.map(ToString::to_string).collect();
        let note = || {
            format!(
                "these run with an address on the {word} side only, and are not compared: {}",
                names.join(", ")
            )
        };
        (!names.is_empty()).then(note)
    };
    missing(old, new, "old").into_iter().chain(missing(new, old, "new")).collect()
}

/// Whether a pod runs and has an address.
pub(super) fn is_live(side: &Snapshot, name: &ObjectName) -> bool {
    let pod = side.pods.get(name);
    pod.is_some_and(|pod| pod.phase == Phase::Live && !pod.addresses.is_empty())
}

/// Every end that both sides have: pods, hosts, and one address for each region of addresses.
pub(super) fn common(old: &Manifests, new: &Manifests) -> Vec<End> {
    let pods = old.snapshot.pods.keys();
    let pods = pods.filter(|name| is_live(&old.snapshot, name) && is_live(&new.snapshot, name));
    let hosts = old.hosts.iter().filter(|(name, host)| new.hosts.get(*name) == Some(host));
    let both = [&old.snapshot, &new.snapshot];
    // Addresses of compared pods are left out, as the pods stand for them. A pod with hostNetwork
    // does not: other processes of its node have the same address.
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

/// Services that both sides have, with an address and a port.
pub(super) fn services(old: &Snapshot, new: &Snapshot) -> Vec<End> {
    let reachable = |side: &Snapshot, name: &ObjectName| {
        let service = side.services.get(name);
        service.is_some_and(|one| !one.cluster_ips.is_empty() && !one.ports.is_empty())
    };
    let both = old.services.keys().filter(|name| reachable(old, name) && reachable(new, name));
    both.map(|name| End::Service(name.clone())).collect()
}

/// Whether anything differs apart from pods, namespaces and network policies: that may change the
/// verdict of every pair.
pub(super) fn rest_differs(old: &Snapshot, new: &Snapshot) -> bool {
    let rest = |side: &Snapshot| Snapshot {
        namespaces: BTreeMap::new(),
        pods: BTreeMap::new(),
        policies: BTreeMap::new(),
        ..side.clone()
    };
    rest(old) != rest(new)
}

/// Whether the verdict on connections of `end` in a direction may differ between the sides: because
/// other policies select it, or because selectors see it with other labels.
pub(super) fn touched(old: &Snapshot, new: &Snapshot, end: &End, direction: Direction) -> bool {
    let End::Pod(name) = end else {
        return false;
    };
    looks_different(old, new, name)
        || selecting(old, name, direction) != selecting(new, name, direction)
}

/// Whether selectors and blocks see a different pod.
fn looks_different(old: &Snapshot, new: &Snapshot, name: &ObjectName) -> bool {
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
