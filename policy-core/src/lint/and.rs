//! Two list items where one item with both selectors was likely meant.

use crate::model::{ObjectName, Peer};

use super::{
    Level, Report,
    context::{Context, Located},
};

/// A `namespaceSelector` and a `podSelector` that follow one another, each in an item of its own.
///
/// Two items are either the one or the other (S14). The pod selector is left alone where it
/// matches pods of the policy's own namespace and none of the other namespaces.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, pair) in located.rule.peers.windows(2).enumerate() {
            let [first, second] = pair else { continue };
            if split(context, &located, first, second) || split(context, &located, second, first) {
                report.add(
                    located.at(located.peer_field(index + 1)),
                    Level::Warning,
                    "a namespaceSelector and a podSelector in two items mean either, not both"
                        .to_owned(),
                    "put both selectors into one item if both must hold",
                );
            }
        }
    }
}

fn split(context: &Context<'_>, located: &Located<'_>, namespaces: &Peer, pods: &Peer) -> bool {
    let (
        Peer::Pods { namespaces: Some(selector), pods: every },
        Peer::Pods { namespaces: None, pods },
    ) = (namespaces, pods)
    else {
        return false;
    };
    if !every.requirements.is_empty() || pods.requirements.is_empty() {
        return false;
    }
    let own = &located.name.namespace;
    let matching = context.snapshot.pods.iter();
    let matching = matching.filter(|(_, pod)| pod.is_subject() && pods.matches(&pod.labels));
    let matching: Vec<&ObjectName> = matching.map(|(name, _)| name).collect();
    let here = matching.iter().any(|name| name.namespace == *own);
    let there = matching.iter().any(|name| {
        name.namespace != *own && context.in_namespaces(own, Some(selector), &name.namespace)
    });
    there || !here
}
