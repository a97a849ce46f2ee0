//! Selectors that match nothing.

use std::collections::BTreeSet;

use crate::model::{FieldPath, Labels, ObjectName, Peer, Phase, Pod, Selector};

use super::{
    Level, Report,
    context::{Context, policy, some},
    never::contradictory,
    tiers,
};

/// `podSelector` of a policy that selects no pod.
pub(super) fn subject(context: &Context<'_>, report: &mut Report) {
    tiers::selectors::subject(context, report);
    if !context.has_pods {
        return;
    }
    for (name, object) in &context.snapshot.policies {
        let Some(selector) = object.subject.as_ref() else { continue };
        if contradictory(selector) || context.subjects(name, object).next().is_some() {
            continue;
        }
        let pods = context.snapshot.pods.iter().filter(|(pod, _)| pod.namespace == name.namespace);
        let message = format!("{selector} selects no pod of namespace {}", name.namespace);
        let (message, suggestion) = instead(message, selector, pods);
        report.add(
            policy(name, FieldPath::spec("podSelector")),
            Level::Warning,
            message,
            suggestion,
        );
    }
}

/// Selectors of a peer that match no namespace or no pod.
pub(super) fn peers(context: &Context<'_>, report: &mut Report) {
    tiers::selectors::peers(context, report);
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Pods { namespaces, pods } = peer else { continue };
            if contradictory(pods) || namespaces.as_ref().is_some_and(contradictory) {
                continue;
            }
            let own = &located.name.namespace;
            let all = context.snapshot.namespaces.keys();
            let meant =
                all.filter(|name| context.in_namespaces(own, namespaces.as_ref(), name)).count();
            let field = located.peer_field(index);
            if let Some(selector) = namespaces
                && meant == 0
            {
                let labels = context.snapshot.namespaces.values();
                report.add(
                    located.at(field.clone().field("namespaceSelector")),
                    Level::Warning,
                    format!("{selector} matches no namespace"),
                    suggestion(selector, labels),
                );
            } else if context.has_pods && context.peer_pods(own, peer).is_empty() {
                let place = namespaces.as_ref().map_or_else(
                    || format!("namespace {own}"),
                    |selector| format!("namespaces {selector}"),
                );
                let all = context.snapshot.pods.iter().filter(|(name, _)| {
                    context.in_namespaces(own, namespaces.as_ref(), &name.namespace)
                });
                let message = format!("{pods} matches no pod of {place}");
                let (message, suggestion) = instead(message, pods, all);
                let subject = located.at(field.field("podSelector"));
                report.add(subject, Level::Warning, message, suggestion);
            }
        }
    }
}

/// The message of a selector that matches none of these pods, and what to do about it.
///
/// Where it would match some but for their network, that is told (S6).
pub(super) fn instead<'a>(
    message: String,
    selector: &Selector,
    pods: impl Iterator<Item = (&'a ObjectName, &'a Pod)>,
) -> (String, String) {
    let live = pods.filter(|(_, pod)| pod.phase == Phase::Live);
    let (hosts, own): (Vec<_>, Vec<_>) = live.partition(|(_, pod)| pod.host_network);
    let hosts = hosts.into_iter().filter(|(_, pod)| selector.matches(&pod.labels));
    let hosts: Vec<&ObjectName> = hosts.map(|(name, _)| name).collect();
    if hosts.is_empty() {
        return (message, suggestion(selector, own.into_iter().map(|(_, pod)| &pod.labels)));
    }
    let message =
        format!("{message} but {} with hostNetwork, which no selector means", some(hosts));
    (
        message,
        "it has the addresses of its node: no policy isolates it, and as a peer it takes an ipBlock".to_owned(),
    )
}

/// The values that the labels asked for have in truth.
pub(super) fn suggestion<'a>(
    selector: &Selector,
    labels: impl Iterator<Item = &'a Labels>,
) -> String {
    let keys: BTreeSet<&String> =
        selector.requirements.iter().map(|requirement| &requirement.key).collect();
    let found = labels.flatten().filter(|(key, _)| keys.contains(key));
    let found: BTreeSet<String> = found.map(|(key, value)| format!("{key}={value}")).collect();
    if found.is_empty() {
        return "check the labels for misspellings; nothing there has these keys".to_owned();
    }
    format!("what is there has {}", some(found))
}
