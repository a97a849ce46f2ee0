//! NP001, NP002, NP003 and NP007 for cluster-wide policies: selectors and names that match nothing.

use crate::model::{ClusterPeer, Direction, FieldPath, Pod, PodSet, Protocol, ProtocolMatch};

use super::{
    super::{
        context::Context,
        finding::{Level, Report},
        named_ports::suggest_ports,
        never_matches::{CONTRADICTION, FIX_ENTRY, is_contradictory},
        selectors::{Advice, no_pod, suggest_labels},
    },
    LocatedTierRule, peer_pods, pods_of, policies, policy_field, rules, subjects,
};

/// NP001: a `subject` that selects no pod.
pub(in super::super) fn subject(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in policies(context).filter(|_| context.has_pods) {
        let Some(set) = &policy.subject else { continue };
        if !is_impossible(set) && pods_of(context, set).is_empty() {
            let Advice { message, suggestion } = empty_set(context, set);
            let at = policy_field(name, FieldPath::spec("subject"));
            report.add(at, Level::Warning, message, suggestion);
        }
    }
}

/// NP002: peers that match no pod, or no node.
pub(in super::super) fn peers(context: &Context<'_>, report: &mut Report) {
    for located in rules(context) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            if let Some(Advice { message, suggestion }) = unmatched_peer(context, peer) {
                let at = located.at(located.peer_path(index));
                report.add(at, Level::Warning, message, suggestion);
            }
        }
    }
}

fn unmatched_peer(context: &Context<'_>, peer: &ClusterPeer) -> Option<Advice> {
    match peer {
        ClusterPeer::Pods(set) if !is_impossible(set) => {
            let matches_namespace = has_namespace(context, set);
            let found =
                matches_namespace && (!context.has_pods || !pods_of(context, set).is_empty());
            let elsewhere = context.may_match_elsewhere(&set.namespaces) && !has_pod(context, set);
            (!found && !elsewhere).then(|| empty_set(context, set))
        }
        ClusterPeer::Nodes(selector) if !is_contradictory(selector) => {
            let labels = || context.snapshot.nodes.values().map(|node| &node.labels);
            let none = !labels().any(|labels| selector.matches(labels));
            (none && !context.snapshot.nodes.is_empty()).then(|| Advice {
                message: format!("{selector} matches no node"),
                suggestion: suggest_labels(selector, labels()),
            })
        }
        ClusterPeer::Pods(_)
        | ClusterPeer::Nodes(_)
        | ClusterPeer::Networks(_)
        | ClusterPeer::Unknown(_) => None,
    }
}

/// NP003: selectors that no labels can match.
pub(in super::super) fn never(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in policies(context) {
        if policy.subject.as_ref().is_some_and(is_impossible) {
            let at = policy_field(name, FieldPath::spec("subject"));
            report.add(at, Level::Error, CONTRADICTION, "remove one of the requirements");
        }
    }
    for located in rules(context) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let never = match peer {
                ClusterPeer::Pods(set) => is_impossible(set),
                ClusterPeer::Nodes(selector) => is_contradictory(selector),
                ClusterPeer::Networks(_) | ClusterPeer::Unknown(_) => false,
            };
            if never {
                let at = located.at(located.peer_path(index));
                report.add(at, Level::Error, CONTRADICTION, FIX_ENTRY);
            }
        }
    }
}

/// NP007: names of ports that no possible destination has (S24).
pub(in super::super) fn named_ports(context: &Context<'_>, report: &mut Report) {
    for located in rules(context) {
        for (index, entry) in located.rule.protocols.iter().enumerate() {
            let ProtocolMatch::Named(name) = entry else { continue };
            let destinations = destinations(context, &located);
            let has_it = |pod: &&Pod| {
                Protocol::ALL.into_iter().any(|one| pod.named_ports(name, one).next().is_some())
            };
            // Where no pod matches, the selector is wrong: NP001 or NP002 reports it.
            if destinations.is_empty() || destinations.iter().any(has_it) {
                continue;
            }
            report.add(
                located.at(located.protocol_path(index)),
                Level::Warning,
                format!("no destination pod has a port named {name:?}"),
                suggest_ports(&destinations),
            );
        }
    }
}

/// The pods that can be the destination of a connection that a rule is for.
fn destinations<'a>(context: &Context<'a>, located: &LocatedTierRule<'_>) -> Vec<&'a Pod> {
    let named = match located.direction {
        Direction::Ingress => subjects(context, located.policy),
        Direction::Egress => {
            located.rule.peers.iter().flat_map(|peer| peer_pods(context, peer)).collect()
        }
    };
    named.into_iter().map(|(_, pod)| pod).collect()
}

/// Whether no pod can be in a set.
fn is_impossible(set: &PodSet) -> bool {
    is_contradictory(&set.namespaces) || is_contradictory(&set.pods)
}

/// Whether the input has a pod in one of the namespaces of a set.
fn has_pod(context: &Context<'_>, set: &PodSet) -> bool {
    let mut pods = context.snapshot.pods.keys();
    pods.any(|name| context.in_namespaces("", Some(&set.namespaces), &name.namespace))
}

/// Whether a set is for a namespace of the cluster.
fn has_namespace(context: &Context<'_>, set: &PodSet) -> bool {
    let mut all = context.snapshot.namespaces.keys();
    all.any(|namespace| context.in_namespaces("", Some(&set.namespaces), namespace))
}

/// Advice on a set that holds no pod.
fn empty_set(context: &Context<'_>, set: &PodSet) -> Advice {
    let PodSet { namespaces, pods } = set;
    let snapshot = context.snapshot;
    if !has_namespace(context, set) {
        return Advice {
            message: format!("{namespaces} matches no namespace"),
            suggestion: suggest_labels(
                namespaces,
                snapshot.namespaces.values().map(|namespace| &namespace.labels),
            ),
        };
    }
    let there = snapshot
        .pods
        .iter()
        .filter(|(name, _)| context.in_namespaces("", Some(namespaces), &name.namespace));
    no_pod(format!("{pods} matches no pod of namespaces {namespaces}"), pods, there)
}
