//! NP001 and NP002: selectors that match nothing in this cluster.

use std::collections::BTreeSet;

use crate::{
    model::{FieldPath, Labels, ObjectName, Peer, Phase, Pod, Selector},
    names::first_few,
};

use super::{
    context::{Context, LISTED, LocatedRule, policy_field},
    finding::{Level, Report},
    never_matches::is_contradictory,
};

/// What is wrong, and what to do about it.
pub(super) struct Advice {
    pub(super) message: String,
    pub(super) suggestion: String,
}

/// NP001: `podSelector` of a policy that selects no pod.
pub(super) fn subject(context: &Context<'_>, report: &mut Report) {
    if !context.has_pods {
        return;
    }
    for (name, policy) in &context.snapshot.policies {
        let Some(selector) = policy.subject.as_ref() else { continue };
        // A contradiction is NP003.
        if is_contradictory(selector)
            || context.subjects(name, policy).next().is_some()
            || context.may_lack_pods(&name.namespace, None, selector)
        {
            continue;
        }
        let pods = context.snapshot.pods.iter().filter(|(pod, _)| pod.namespace == name.namespace);
        let message = format!("{selector} selects no pod of namespace {}", name.namespace);
        let Advice { message, suggestion } = no_pod(message, selector, pods);
        let at = policy_field(name, FieldPath::spec("podSelector"));
        report.add(at, Level::Warning, message, suggestion);
    }
}

/// NP002: selectors of a peer that match no namespace or no pod.
pub(super) fn peers(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            if let Some((selector, Advice { message, suggestion })) =
                unmatched_selector(context, &located, peer)
            {
                let at = located.at(located.peer_path(index).field(selector));
                report.add(at, Level::Warning, message, suggestion);
            }
        }
    }
}

/// The selector of a peer that matches nothing, by its field, and what to do about it.
fn unmatched_selector<'a>(
    context: &Context<'a>,
    located: &LocatedRule<'a>,
    peer: &'a Peer,
) -> Option<(&'static str, Advice)> {
    let Peer::Pods { namespaces, pods } = peer else { return None };
    // A contradiction is NP003.
    if is_contradictory(pods) || namespaces.as_ref().is_some_and(is_contradictory) {
        return None;
    }
    let own = &located.name.namespace;
    let is_meant = |name: &str| context.in_namespaces(own, namespaces.as_ref(), name);
    let elsewhere =
        namespaces.as_ref().is_some_and(|selector| context.may_match_elsewhere(selector));
    if let Some(selector) = namespaces
        && !context.snapshot.namespaces.keys().any(|name| is_meant(name))
    {
        if elsewhere {
            return None;
        }
        let labels = context.snapshot.namespaces.values().map(|namespace| &namespace.labels);
        let message = format!("{selector} matches no namespace");
        let suggestion = suggest_labels(selector, labels);
        return Some(("namespaceSelector", Advice { message, suggestion }));
    }
    if !context.has_pods || !context.peer_pods(own, peer).is_empty() {
        return None;
    }
    let place = match namespaces {
        None => format!("namespace {own}"),
        Some(selector) => format!("namespaces {selector}"),
    };
    let all = context.snapshot.pods.iter().filter(|(name, _)| is_meant(&name.namespace));
    if context.may_lack_pods(own, namespaces.as_ref(), pods) {
        return None;
    }
    let advice = no_pod(format!("{pods} matches no pod of {place}"), pods, all);
    Some(("podSelector", advice))
}

/// Advice on a selector that matches none of these pods, where `message` says so.
///
/// Where it would match pods if they did not use the network of their node, that is said (S6).
pub(super) fn no_pod<'a>(
    message: String,
    selector: &Selector,
    pods: impl Iterator<Item = (&'a ObjectName, &'a Pod)>,
) -> Advice {
    let live = pods.filter(|(_, pod)| pod.phase == Phase::Live);
    let (on_host, own): (Vec<_>, Vec<_>) = live.partition(|(_, pod)| pod.host_network);
    let on_host = on_host.into_iter().filter(|(_, pod)| selector.matches(&pod.labels));
    let on_host: Vec<&ObjectName> = on_host.map(|(name, _)| name).collect();
    if on_host.is_empty() {
        let suggestion = suggest_labels(selector, own.into_iter().map(|(_, pod)| &pod.labels));
        return Advice { message, suggestion };
    }
    Advice {
        message: format!(
            "{message} except {} with hostNetwork, which no selector matches",
            first_few(on_host, LISTED)
        ),
        suggestion: "a pod with hostNetwork has the addresses of its node: no policy isolates it, \
                     and a peer needs an ipBlock for it"
            .to_owned(),
    }
}

/// A suggestion with the values that the labels of a selector have in the cluster.
pub(super) fn suggest_labels<'a>(
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
    format!("the labels there are {}", first_few(found, LISTED))
}
