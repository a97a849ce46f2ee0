//! S3: sets of connections are those of the naive evaluator, port by port and pod by pod.

use std::net::IpAddr;

use policy_core::{
    compile::{Scope, compile},
    connections::Connections,
    desired::Ports,
    model::{Direction, Family, ObjectName, Pod, Protocol, Snapshot},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    explained::without_shared_addresses,
    generate::{self, OUTSIDE, PORTS, ip, pod_name},
    oracle,
};

/// A group of two pods, of one, and of three.
fn groups() -> Vec<Vec<ObjectName>> {
    let names: Vec<ObjectName> = (0..generate::PODS).map(pod_name).collect();
    vec![names[..2].to_vec(), names[2..3].to_vec(), names[3..].to_vec()]
}

/// The pods of a group that take part, with their address in a family.
fn members<'a>(
    snapshot: &'a Snapshot,
    group: &'a [ObjectName],
    family: Family,
) -> Vec<(&'a ObjectName, &'a Pod, IpAddr)> {
    let pods = group.iter().filter_map(|name| Some((name, snapshot.pods.get(name)?)));
    pods.filter(|(_, pod)| oracle::takes_part(pod))
        .filter_map(|(name, pod)| {
            let address = pod.usable_addresses().find(|one| Family::of(*one) == family)?;
            Some((name, pod, address))
        })
        .collect()
}

/// Whether a port is in the sets for every and for some pairs, as it should be.
fn agree(verdicts: &[bool], every: &Ports, some: &Ports, at: (Protocol, u16)) -> bool {
    let all = verdicts.iter().all(|verdict| *verdict);
    let any = verdicts.iter().any(|verdict| *verdict);
    every.contains(at.0, at.1) == all && some.contains(at.0, at.1) == (any && !all)
}

fn check(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let desired = compile(snapshot, Scope::Cluster).0;
    let groups = groups();
    let connections = Connections::new(&desired, &groups);
    let ports = PORTS.into_iter().flat_map(|port| Protocol::ALL.map(|protocol| (protocol, port)));
    let ports: Vec<(Protocol, u16)> = ports.collect();
    for family in Family::BOTH {
        for (from, sources) in groups.iter().enumerate() {
            let sources = members(snapshot, sources, family);
            for (to, destinations) in groups.iter().enumerate() {
                let destinations = members(snapshot, destinations, family);
                let pairs = sources.iter().flat_map(|a| destinations.iter().map(move |b| (a, b)));
                let pairs: Vec<_> = pairs.filter(|(a, b)| a.0 != b.0).collect();
                let found = connections.between(from, to);
                let found = found.iter().find(|one| one.families.contains(&family));
                let (every, some) =
                    found.map(|one| (one.every.clone(), one.some.clone())).unwrap_or_default();
                if pairs.is_empty() {
                    prop_assert!(found.is_none(), "{from} {to} {family:?}");
                    continue;
                }
                for at in &ports {
                    let verdict =
                        |(a, b): &(&(&ObjectName, &Pod, IpAddr), &(&ObjectName, &Pod, IpAddr))| {
                            let ends = (oracle::end(snapshot, a.2), oracle::end(snapshot, b.2));
                            let pods = (Some((a.0, a.1)), Some((b.0, b.1)));
                            oracle::verdict(snapshot, &ends.0, &ends.1, pods.0, pods.1, *at)
                                == (true, true)
                        };
                    let verdicts: Vec<bool> = pairs.iter().map(verdict).collect();
                    prop_assert!(
                        agree(&verdicts, &every, &some, *at),
                        "{from} -> {to} {family:?} {at:?}"
                    );
                }
            }
            outside(snapshot, &connections, (from, &sources, family), &ports)?;
        }
    }
    Ok(())
}

/// The same for addresses outside of the cluster.
fn outside(
    snapshot: &Snapshot,
    connections: &Connections<'_>,
    (group, members, family): (usize, &[(&ObjectName, &Pod, IpAddr)], Family),
    ports: &[(Protocol, u16)],
) -> Result<(), TestCaseError> {
    let strangers = OUTSIDE.map(ip).into_iter().filter(|one| Family::of(*one) == family);
    for address in strangers.filter(|one| oracle::end(snapshot, *one).owners.is_empty()) {
        for direction in Direction::BOTH {
            let found = connections.outside(group, direction);
            let mut holding = found.iter().filter(|one| {
                one.region.block.contains(address)
                    && !one.region.except.iter().any(|inner| inner.contains(address))
            });
            let region = holding.next();
            prop_assert!(holding.next().is_none(), "{address} is in two regions");
            let (every, some) =
                region.map(|one| (one.every.clone(), one.some.clone())).unwrap_or_default();
            for at in ports.iter().filter(|_| !members.is_empty()) {
                let end = oracle::end(snapshot, address);
                let verdicts: Vec<bool> = members
                    .iter()
                    .map(|(name, pod, _)| {
                        let pod = (*name, *pod);
                        oracle::direction_allows(snapshot, direction, pod, &end, at.0, at.1)
                    })
                    .collect();
                prop_assert!(
                    agree(&verdicts, &every, &some, *at),
                    "{address} {direction:?} {at:?}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::config(200))]

    #[test]
    fn s03_sets_are_those_of_the_naive_evaluator(snapshot in generate::snapshot()) {
        check(&without_shared_addresses(snapshot))?;
    }
}
