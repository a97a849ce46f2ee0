//! Compiler and oracle agree on every connection.

use std::{collections::BTreeSet, net::IpAddr};

use policy_common::drops::Reason;
use policy_core::{
    compile::{Scope, compile},
    desired::{Desired, DesiredEndpoint, Frontend, FrontendOutcome},
    explain::{ConnectionEnd, Explanation, Question, explain},
    model::{Direction, Family, Kind, ObjectName, Phase, Pod, Protocol, Snapshot},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    generate::{self, OUTSIDE, PORTS, ip},
    oracle::{self, End},
};

type NamedPod<'a> = (&'a ObjectName, &'a Pod);

fn address_in(pod: &Pod, family: Family) -> Option<IpAddr> {
    pod.addresses.iter().copied().find(|address| Family::of(*address) == family)
}

fn check(
    snapshot: &Snapshot,
    desired: &Desired,
    question: &Question,
    want: Option<(bool, bool)>,
) -> Result<(), TestCaseError> {
    let got = explain(snapshot, desired, question);
    let verdicts = got.as_ref().map(|answer| (answer.ingress.allowed, answer.egress.allowed));
    prop_assert_eq!(verdicts, want, "{:?}", question);
    got.map_or(Ok(()), |answer| check_deciding(&answer, question))
}

/// A verdict of policy names policies: rules where it allows; where it denies, rules of a tier or
/// the network policies that isolate.
fn check_deciding(answer: &Explanation, question: &Question) -> Result<(), TestCaseError> {
    for half in [&answer.ingress, &answer.egress] {
        for by in half.by.iter() {
            let tiered = by.policy.kind() == Kind::ClusterNetworkPolicy;
            let want = half.allowed || tiered && by.policy.namespace().is_none();
            prop_assert!(by.rule.is_some() == want || tiered, "{:?}: {:?}", question, half);
        }
        prop_assert!(half.allowed || !half.by.is_empty(), "{:?}: {:?}", question, half);
    }
    Ok(())
}

/// Every pod to every pod; hostNetwork pods are processes of their nodes.
fn pods_to_pods(snapshot: &Snapshot, desired: &Desired) -> Result<(), TestCaseError> {
    for (from, source) in &snapshot.pods {
        for (to, target) in &snapshot.pods {
            for family in Family::BOTH {
                let ends = (
                    live_end(snapshot, (from, source), family),
                    live_end(snapshot, (to, target), family),
                );
                for (protocol, port) in places() {
                    let want = match &ends {
                        (Some(near), Some(far)) => {
                            let subject =
                                |name, pod| oracle::takes_part(pod).then_some((name, pod));
                            let (source, target) = (subject(from, source), subject(to, target));
                            let place = (protocol, port);
                            Some(oracle::verdict(snapshot, near, far, source, target, place))
                        }
                        _ => None,
                    };
                    let (from, to) =
                        (ConnectionEnd::Pod(from.clone()), ConnectionEnd::Pod(to.clone()));
                    let question = Question { from, to, family, protocol, port };
                    check(snapshot, desired, &question, want)?;
                }
            }
        }
    }
    Ok(())
}

fn live_end<'a>(snapshot: &'a Snapshot, (_, pod): NamedPod<'a>, family: Family) -> Option<End<'a>> {
    let mut address = address_in(pod, family);
    if pod.phase == Phase::Finished {
        return None;
    }
    if pod.host_network {
        let of_node = &snapshot.nodes[pod.node.as_ref()?].addresses;
        address = address.or(of_node.iter().copied().find(|one| Family::of(*one) == family));
    }
    let mut end = oracle::end(snapshot, address?);
    end.process_of = pod.node.as_deref().filter(|_| pod.host_network);
    Some(end)
}

fn places() -> impl Iterator<Item = (Protocol, u16)> {
    Protocol::ALL.into_iter().flat_map(|protocol| PORTS.map(|port| (protocol, port)))
}

/// Pods from and to addresses that are no pods'.
fn pods_and_strangers(snapshot: &Snapshot, desired: &Desired) -> Result<(), TestCaseError> {
    let pods = snapshot.pods.iter().filter(|(_, pod)| oracle::takes_part(pod));
    for (name, pod) in pods {
        for address in OUTSIDE.map(ip) {
            let family = Family::of(address);
            let Some(own) = address_in(pod, family) else { continue };
            let near = oracle::end(snapshot, own);
            let far = End { address, owners: Vec::new(), process_of: None };
            let (party, stranger) =
                (ConnectionEnd::Pod(name.clone()), ConnectionEnd::Address(address));
            for (protocol, port) in places() {
                let place = (protocol, port);
                let out = match oracle::host_port_backends(snapshot, address, protocol, port) {
                    forwarded if forwarded.is_empty() => {
                        oracle::verdict(snapshot, &near, &far, Some((name, pod)), None, place)
                    }
                    forwarded => to_backends(snapshot, (name, pod), &near, &forwarded, protocol),
                };
                let (from, to) = (party.clone(), stranger.clone());
                let question = Question { from, to, family, protocol, port };
                check(snapshot, desired, &question, Some(out))?;
                let into = oracle::verdict(snapshot, &far, &near, None, Some((name, pod)), place);
                let (from, to) = (stranger.clone(), party.clone());
                let question = Question { from, to, family, protocol, port };
                check(snapshot, desired, &question, Some(into))?;
            }
        }
    }
    Ok(())
}

/// Verdicts on a connection that a node forwards to any of these backends: ingress, egress.
fn to_backends(
    snapshot: &Snapshot,
    source: NamedPod<'_>,
    near: &End<'_>,
    backends: &[(IpAddr, u16)],
    protocol: Protocol,
) -> (bool, bool) {
    let verdicts = backends.iter().map(|&(address, port)| {
        let far = oracle::end(snapshot, address);
        // Of several pods with the address, explanations name the first.
        let target = far.owners.first().copied();
        let place = (protocol, port);
        let (ingress, egress) = oracle::verdict(snapshot, near, &far, Some(source), target, place);
        let itself = target.is_some_and(|(name, _)| name == source.0);
        let alone = oracle::verdict(snapshot, near, &far, Some(source), None, place).1;
        let is_shared = far.owners.len() > 1;
        (ingress, if itself && is_shared { alone } else { egress }, itself && !is_shared)
    });
    let verdicts: Vec<_> = verdicts.collect();
    if verdicts.iter().all(|(_, egress, _)| *egress) {
        return (verdicts.iter().all(|(ingress, ..)| *ingress), true);
    }
    // Connections go to the allowed ones, and not back to the pod itself.
    let reached: Vec<_> =
        verdicts.iter().filter(|(_, egress, itself)| *egress && !itself).collect();
    let some = !reached.is_empty();
    let reached = if some { reached } else { verdicts.iter().collect() };
    (reached.into_iter().all(|(ingress, ..)| *ingress), some)
}

/// Egress of pods to Services: the backends decide, those that the pod's node uses.
fn pods_to_services(snapshot: &Snapshot, desired: &Desired) -> Result<(), TestCaseError> {
    for (service, declared) in &snapshot.services {
        let port = &declared.ports[0];
        for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| oracle::takes_part(pod)) {
            if address_in(pod, Family::Ipv4).is_none() {
                continue;
            }
            let node = pod.node.as_deref().expect("generated pods have a node");
            let backends = oracle::backends(snapshot, node, service, port.port);
            // An address of several pods is no pod's own.
            let alone = |address| oracle::end(snapshot, address).owners.len() == 1;
            let itself = |address: &IpAddr| pod.addresses.contains(address) && alone(*address);
            let allowed = |(address, number): &(IpAddr, u16)| {
                let far = oracle::end(snapshot, *address);
                let place = (port.protocol, *number);
                let near = oracle::end(snapshot, pod.addresses[0]);
                itself(address)
                    || oracle::verdict(snapshot, &near, &far, Some((name, pod)), None, place).1
            };
            let question = Question {
                from: ConnectionEnd::Pod(name.clone()),
                to: ConnectionEnd::Service(service.clone()),
                family: Family::Ipv4,
                protocol: port.protocol,
                port: port.port,
            };
            let got = explain(snapshot, desired, &question).map(|answer| answer.egress.allowed);
            let isolated = desired.endpoints[name].isolation.egress.is_some();
            let want = match (backends.is_empty(), isolated) {
                (true, false) => None,
                (true, true) => Some(false),
                (false, _) => {
                    let mut others = backends.iter().filter(|backend| !itself(&backend.0));
                    Some(backends.iter().all(allowed) || others.any(allowed))
                }
            };
            prop_assert_eq!(got, want, "{:?}", question);
        }
    }
    Ok(())
}

/// The tables of a pod's node say what explanations say, and name the backends that may be chosen.
fn check_services(
    snapshot: &Snapshot,
    cluster: &Desired,
    near: &Desired,
    (name, endpoint): (&ObjectName, &DesiredEndpoint),
) -> Result<(), TestCaseError> {
    let Some(isolation) = &endpoint.isolation.egress else { return Ok(()) };
    if address_in(&snapshot.pods[name], Family::Ipv4).is_none() {
        return Ok(());
    }
    for (service, declared) in &snapshot.services {
        let (address, port) = (declared.cluster_ips[0], &declared.ports[0]);
        let (protocol, port) = (port.protocol, port.port);
        let (from, to) =
            (ConnectionEnd::Pod(name.clone()), ConnectionEnd::Service(service.clone()));
        let question = Question { from, to, family: Family::Ipv4, protocol, port };
        let said = explain(snapshot, cluster, &question).map(|answer| answer.egress.allowed);
        let judged = near.judge(isolation, Direction::Egress, address, protocol, port);
        prop_assert_eq!(said, Some(judged.is_ok()), "{:?} {:?}", question, judged);
        let frontend = Frontend { address, protocol, port };
        let (all, allowed) =
            (&near.backends[&frontend].backends, near.allowed_backends(endpoint, &frontend));
        prop_assert!(judged.is_err() || !allowed.is_empty(), "{:?}: of {:?}", question, all);
        match near.outcome(isolation, &frontend) {
            Some(FrontendOutcome::Pass) => {
                prop_assert_eq!(allowed.len(), all.len(), "{:?}: {:?}", question, all);
            }
            Some(FrontendOutcome::Some(some)) => {
                let by_rule = |&&(address, number): &&(IpAddr, u16)| {
                    near.allows(&isolation.allow_map, address, protocol, number)
                };
                let want: BTreeSet<_> = all.iter().filter(by_rule).copied().collect();
                prop_assert_eq!(&*some.backends, &want, "{:?}: of {:?}", question, all);
                prop_assert!(want.len() < all.len(), "{:?}: all of {:?}", question, all);
            }
            Some(FrontendOutcome::Refuse(_)) | None => prop_assert!(judged.is_err()),
        }
        if judged == Err(Reason::ServicePartlyDenied) {
            prop_assert!(!allowed.is_empty(), "{:?}: none of {:?}", question, all);
        }
        for (backend, number) in allowed {
            let itself = endpoint.addresses.contains(&backend);
            let is_allowed = near.allows(&isolation.allow_map, backend, protocol, number);
            prop_assert!(itself || is_allowed, "{:?}: {} is denied", question, backend);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::config(300))]

    #[test]
    fn compiler_and_oracle_agree(snapshot in generate::snapshot()) {
        let (desired, _) = compile(&snapshot, Scope::Cluster);
        pods_to_pods(&snapshot, &desired)?;
        pods_and_strangers(&snapshot, &desired)?;
        pods_to_services(&snapshot, &desired)?;
    }

    #[test]
    fn a_node_enforces_what_the_cluster_says(snapshot in generate::snapshot()) {
        let (cluster, _) = compile(&snapshot, Scope::Cluster);
        for node in ["n1", "n2"] {
            let (near, _) = compile(&snapshot, Scope::Node(node));
            for (name, endpoint) in &near.endpoints {
                let whole = &cluster.endpoints[name];
                let halves = endpoint.isolation.values().zip(whole.isolation.values());
                for ((near_half, whole_half), direction) in halves.into_iter().zip(Direction::BOTH) {
                    prop_assert_eq!(near_half.is_some(), whole_half.is_some());
                    let (Some(near_half), Some(whole_half)) = (near_half, whole_half) else { continue };
                    for remote in snapshot.pods.values().flat_map(|pod| pod.addresses.clone()).chain(OUTSIDE.map(ip)) {
                        for (protocol, port) in places() {
                            let here = near.judge(near_half, direction, remote, protocol, port);
                            let there = cluster.judge(whole_half, direction, remote, protocol, port);
                            prop_assert_eq!(here, there, "{} {:?} {} {}", name, direction, remote, port);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn s40_a_node_judges_its_pods_connections_to_services_as_explanations_say(
        snapshot in generate::snapshot()
    ) {
        let (cluster, _) = compile(&snapshot, Scope::Cluster);
        for node in ["n1", "n2"] {
            let (near, _) = compile(&snapshot, Scope::Node(node));
            for (name, endpoint) in &near.endpoints {
                check_services(&snapshot, &cluster, &near, (name, endpoint))?;
            }
        }
    }

    #[test]
    fn compiling_twice_gives_the_same(snapshot in generate::snapshot()) {
        prop_assert_eq!(compile(&snapshot, Scope::Cluster), compile(&snapshot.clone(), Scope::Cluster));
    }
}

proptest! {
    #![proptest_config(crate::config(5))]

    #[test]
    fn compiler_and_oracle_agree_where_rules_are_joined(snapshot in generate::crowded()) {
        let (desired, _) = compile(&snapshot, Scope::Cluster);
        pods_to_pods(&snapshot, &desired)?;
        pods_and_strangers(&snapshot, &desired)?;
        pods_to_services(&snapshot, &desired)?;
    }
}
