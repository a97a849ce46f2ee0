//! Selectors and names of cluster-wide policies that match nothing.

use crate::model::{ClusterPeer, Direction, FieldPath, Pod, PodSet, Protocol, ProtocolMatch};

use super::{
    super::{
        Level, Report,
        context::{Context, some},
        never::contradictory,
        ports::known_ports,
        selectors::{instead, suggestion},
    },
    TierRule, peer_pods, pods_of, policies, policy, rules, subjects,
};

/// `subject` that selects no pod.
pub(in super::super) fn subject(context: &Context<'_>, report: &mut Report) {
    for (name, object) in policies(context).filter(|_| context.has_pods) {
        let Some(set) = &object.subject else { continue };
        if !impossible(set) && pods_of(context, set).is_empty() {
            let (message, suggestion) = nothing(context, set);
            report.add(
                policy(name, FieldPath::spec("subject")),
                Level::Warning,
                message,
                suggestion,
            );
        }
    }
}

/// Peers that mean no pod, or no node.
pub(in super::super) fn peers(context: &Context<'_>, report: &mut Report) {
    for located in rules(context) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let told = match peer {
                ClusterPeer::Pods(set) if !impossible(set) => {
                    let meant = context.snapshot.namespaces.keys().any(|namespace| {
                        context.in_namespaces("", Some(&set.namespaces), namespace)
                    });
                    let found = meant && (!context.has_pods || !pods_of(context, set).is_empty());
                    (!found).then(|| nothing(context, set))
                }
                ClusterPeer::Nodes(selector) if !contradictory(selector) => {
                    let labels = || context.snapshot.nodes.values().map(|node| &node.labels);
                    let none = !labels().any(|labels| selector.matches(labels));
                    (none && !context.snapshot.nodes.is_empty()).then(|| {
                        (format!("{selector} matches no node"), suggestion(selector, labels()))
                    })
                }
                ClusterPeer::Pods(_)
                | ClusterPeer::Nodes(_)
                | ClusterPeer::Networks(_)
                | ClusterPeer::Unknown { .. } => None,
            };
            if let Some((message, suggestion)) = told {
                let subject = located.at(located.peer_field(index));
                report.add(subject, Level::Warning, message, suggestion);
            }
        }
    }
}

/// Selectors that no labels can match.
pub(in super::super) fn never(context: &Context<'_>, report: &mut Report) {
    const MESSAGE: &str = "the selector contradicts itself: no labels can match it";
    for (name, object) in policies(context) {
        if object.subject.as_ref().is_some_and(impossible) {
            let subject = policy(name, FieldPath::spec("subject"));
            report.add(subject, Level::Error, MESSAGE.to_owned(), "drop one of the requirements");
        }
    }
    for located in rules(context) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let never = match peer {
                ClusterPeer::Pods(set) => impossible(set),
                ClusterPeer::Nodes(selector) => contradictory(selector),
                ClusterPeer::Networks(_) | ClusterPeer::Unknown { .. } => false,
            };
            if never {
                let subject = located.at(located.peer_field(index));
                report.add(subject, Level::Error, MESSAGE.to_owned(), "mend or remove the entry");
            }
        }
    }
}

/// Names of ports that no pod has that could be the destination (S24).
pub(in super::super) fn named(context: &Context<'_>, report: &mut Report) {
    for located in rules(context) {
        for (index, entry) in located.rule.protocols.iter().enumerate() {
            let ProtocolMatch::Named(name) = entry else { continue };
            let destinations = destinations(context, &located);
            let has = |pod: &&Pod| {
                Protocol::ALL.into_iter().any(|one| pod.named_ports(name, one).next().is_some())
            };
            // Without any pod there the selector is to blame, which is another finding.
            if destinations.is_empty() || destinations.iter().any(has) {
                continue;
            }
            report.add(
                located.at(located.field().field("protocols").index(index)),
                Level::Warning,
                format!("no pod that is meant has a port named {name:?}"),
                known_ports(&destinations),
            );
        }
    }
}

fn destinations<'a>(context: &Context<'a>, located: &TierRule<'_>) -> Vec<&'a Pod> {
    let named = match located.direction {
        Direction::Ingress => subjects(context, located.policy),
        Direction::Egress => {
            located.rule.peers.iter().flat_map(|peer| peer_pods(context, peer)).collect()
        }
    };
    named.into_iter().map(|(_, pod)| pod).collect()
}

/// Whether no pod can be in a set.
fn impossible(set: &PodSet) -> bool {
    contradictory(&set.namespaces) || contradictory(&set.pods)
}

/// What is wrong with a set that holds no pod, and what is there instead.
fn nothing(context: &Context<'_>, set: &PodSet) -> (String, String) {
    let PodSet { namespaces, pods } = set;
    let snapshot = context.snapshot;
    let meant = |namespace: &str| context.in_namespaces("", Some(namespaces), namespace);
    if !snapshot.namespaces.keys().any(|namespace| meant(namespace)) {
        let labels = snapshot.namespaces.values();
        return (format!("{namespaces} matches no namespace"), suggestion(namespaces, labels));
    }
    let there = snapshot.pods.iter().filter(|(name, _)| meant(&name.namespace));
    instead(format!("{pods} matches no pod of namespaces {namespaces}"), pods, there)
}

/// Names of some objects, for messages.
pub(super) fn names(pods: &[(&crate::model::ObjectName, &Pod)]) -> String {
    some(pods.iter().map(|(name, _)| name))
}
