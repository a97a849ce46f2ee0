//! What to compare.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use policy_core::model::{
    Direction, NetworkPolicy, ObjectName, Peer, Phase, PortSpec, Protocol, Snapshot,
};
use policy_manifest::{End, Manifests};

/// Addresses of documentation (RFC 5737, RFC 3849), which policies hardly name.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 254)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xfe)),
];

/// Pods that only one side has, as notes.
pub(super) fn only_in_one(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let missing = |from: &Snapshot, in_: &Snapshot, word: &str| {
        let names = from.pods.keys().filter(|name| !in_.pods.contains_key(*name));
        let names: Vec<String> = names.map(ToString::to_string).collect();
        (!names.is_empty()).then(|| format!("only the {word} side has {}", names.join(", ")))
    };
    missing(old, new, "old").into_iter().chain(missing(new, old, "new")).collect()
}

/// Every end that both sides have: pods, hosts, and addresses that blocks tell apart.
pub(super) fn common(old: &Manifests, new: &Manifests) -> Vec<End> {
    let live = |side: &Snapshot, name: &ObjectName| {
        let pod = side.pods.get(name);
        pod.is_some_and(|pod| pod.phase == Phase::Live && !pod.addresses.is_empty())
    };
    let pods = old.snapshot.pods.keys();
    let pods = pods.filter(|name| live(&old.snapshot, name) && live(&new.snapshot, name));
    let hosts = old.hosts.iter().filter(|(name, host)| new.hosts.get(*name) == Some(host));
    let mut addresses = BTreeSet::from(OUTSIDE);
    for block in blocks(&old.snapshot).chain(blocks(&new.snapshot)) {
        // One inside; another just behind it stands for what is around it.
        addresses.insert(block.network());
        addresses.insert(block.broadcast());
    }
    let taken: BTreeSet<IpAddr> = [old, new]
        .into_iter()
        .flat_map(|side| {
            let pods = side.snapshot.pods.values().flat_map(|pod| pod.addresses.iter());
            pods.chain(side.snapshot.nodes.values().flat_map(|node| &node.addresses))
        })
        .copied()
        .collect();
    let addresses = addresses.into_iter().filter(|address| !taken.contains(address));
    pods.map(|name| End::Pod(name.clone()))
        .chain(hosts.map(|(name, _)| End::Host(name.clone())))
        .chain(addresses.map(End::Address))
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

/// Blocks and excepts that policies name.
fn blocks(snapshot: &Snapshot) -> impl Iterator<Item = IpNetwork> {
    let rules =
        snapshot.policies.values().flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
    rules.flat_map(|rule| &rule.peers).flat_map(|peer| match peer {
        Peer::Block(block) => {
            let mut all = block.except.clone();
            all.push(block.cidr);
            all
        }
        Peer::Pods { .. } | Peer::Invalid { .. } => Vec::new(),
    })
}

/// Ports that pods declare and that policies name, and one of TCP and UDP that nothing does.
pub(super) fn ports(old: &Snapshot, new: &Snapshot) -> Vec<(u16, Protocol)> {
    let mut ports = BTreeSet::new();
    for side in [old, new] {
        let declared = side.pods.values().flat_map(|pod| &pod.ports);
        ports.extend(declared.map(|port| (port.port, port.protocol)));
        let rules =
            side.policies.values().flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
        for port in rules.flat_map(|rule| &rule.ports) {
            match &port.port {
                PortSpec::Range { first, last } => {
                    // The first port behind a range stands for what is around it.
                    let behind = last.checked_add(1);
                    let ends = [Some(*first), Some(*last), behind].into_iter().flatten();
                    ports.extend(ends.map(|number| (number, port.protocol)));
                }
                PortSpec::Every => {
                    ports.insert((1, port.protocol));
                }
                PortSpec::Named(_) | PortSpec::Invalid { .. } => {}
            }
        }
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let free = (1..=u16::MAX).rev().find(|number| !ports.contains(&(*number, protocol)));
        ports.extend(free.map(|number| (number, protocol)));
    }
    ports.into_iter().collect()
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
