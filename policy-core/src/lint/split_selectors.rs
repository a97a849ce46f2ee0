//! NP013: two list items where one item with both selectors was probably meant.
//!
//! ```yaml
//! from:
//! - namespaceSelector: {matchLabels: {team: red}}   # every pod of team red's namespaces,
//! - podSelector: {matchLabels: {app: front}}        # or app=front of the policy's own namespace
//! ```
//!
//! Without the second dash both must hold. The pair is reported where the pod selector matches no
//! pod of the policy's own namespace, or matches pods of the namespaces that the other item
//! selects. Without any pod in the input nothing is reported.

use std::collections::BTreeSet;

use crate::model::{Peer, Selector};

use super::{
    context::{Context, LocatedRule},
    finding::{Level, Report},
};

/// A `namespaceSelector` and a `podSelector` of one list, each in an item of its own (S14).
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    if !context.has_pods {
        return;
    }
    for located in context.rules() {
        let items = || located.rule.peers.iter().enumerate();
        let namespaces: Vec<(usize, &Selector)> = items()
            .filter_map(|(index, peer)| Some((index, only_namespace_selector(peer)?)))
            .collect();
        let pods = items().filter_map(|(index, peer)| Some((index, only_pod_selector(peer)?)));
        for (index, pods) in pods.filter(|_| !namespaces.is_empty()) {
            let matches = MatchedNamespaces::of(context, &located, pods);
            let meant = namespaces.iter().filter(|(_, selector)| matches.suggest(selector));
            if let Some((other, _)) = meant.min_by_key(|(other, _)| index.abs_diff(*other)) {
                report.add(
                    located.at(located.peer_path(index.max(*other))),
                    Level::Warning,
                    "a namespaceSelector and a podSelector in two items: either is enough",
                    "put both selectors into one item if both must hold",
                );
            }
        }
    }
}

/// The namespace selector of an item that has no pod selector, or an empty one.
fn only_namespace_selector(peer: &Peer) -> Option<&Selector> {
    match peer {
        Peer::Pods { namespaces, pods } if pods.requirements.is_empty() => namespaces.as_ref(),
        Peer::Pods { .. } | Peer::Block(_) => None,
    }
}

/// The pod selector of an item that has no namespace selector; an empty one is for all pods.
fn only_pod_selector(peer: &Peer) -> Option<&Selector> {
    match peer {
        Peer::Pods { namespaces: None, pods } => {
            Some(pods).filter(|pods| !pods.requirements.is_empty())
        }
        Peer::Pods { .. } | Peer::Block(_) => None,
    }
}

/// The namespaces in which a pod selector matches pods.
struct MatchedNamespaces<'a> {
    context: &'a Context<'a>,
    own: &'a str,
    in_own: bool,
    others: BTreeSet<&'a str>,
}

impl<'a> MatchedNamespaces<'a> {
    fn of(context: &'a Context<'a>, located: &LocatedRule<'a>, pods: &Selector) -> Self {
        let own = located.name.namespace.as_str();
        let all = context.snapshot.pods.iter();
        let all = all.filter(|(_, pod)| pod.is_subject() && pods.matches(&pod.labels));
        let mut others: BTreeSet<&str> = all.map(|(name, _)| name.namespace.as_str()).collect();
        let in_own = others.remove(own);
        Self { context, own, in_own, others }
    }

    /// Whether pods of these namespaces were probably meant.
    fn suggest(&self, namespaces: &Selector) -> bool {
        let inside = |name: &&str| self.context.in_namespaces(self.own, Some(namespaces), name);
        !self.in_own || self.others.iter().any(inside)
    }
}
