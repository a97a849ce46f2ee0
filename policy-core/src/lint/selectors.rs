//! Selectors that match nothing.

use std::collections::BTreeSet;

use crate::model::{Labels, Peer, Selector};

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
        let labels = pods.filter(|(_, pod)| pod.is_subject()).map(|(_, pod)| &pod.labels);
        report.add(
            policy(name, "spec.podSelector"),
            Level::Warning,
            format!("{selector} selects no pod of namespace {}", name.namespace),
            suggestion(selector, labels),
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
                    located.at(format!("{field}.namespaceSelector")),
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
                report.add(
                    located.at(format!("{field}.podSelector")),
                    Level::Warning,
                    format!("{pods} matches no pod of {place}"),
                    suggestion(pods, all.map(|(_, pod)| &pod.labels)),
                );
            }
        }
    }
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
