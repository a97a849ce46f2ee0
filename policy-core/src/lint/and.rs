//! Two list items where one item with both selectors was likely meant.

use std::collections::BTreeSet;

use crate::model::{Peer, Selector};

use super::{
    Level, Report,
    context::{Context, Located},
};

/// A `namespaceSelector` and a `podSelector` of one list, each in an item of its own.
///
/// Two items are either the one or the other (S14). The pod selector is left alone where it
/// matches pods of the policy's own namespace and none of the other namespaces.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        let items = || located.rule.peers.iter().enumerate();
        let namespaces: Vec<(usize, &Selector)> =
            items().filter_map(|(at, peer)| Some((at, namespaces_alone(peer)?))).collect();
        let pods = items().filter_map(|(at, peer)| Some((at, pods_alone(peer)?)));
        for (at, pods) in pods.filter(|_| !namespaces.is_empty()) {
            let matching = Matching::of(context, &located, pods);
            let meant = namespaces.iter().filter(|(_, selector)| matching.suggests(selector));
            if let Some((other, _)) = meant.min_by_key(|(other, _)| at.abs_diff(*other)) {
                report.add(
                    located.at(located.peer_field(at.max(*other))),
                    Level::Warning,
                    "a namespaceSelector and a podSelector in two items mean either, not both"
                        .to_owned(),
                    "put both selectors into one item if both must hold",
                );
            }
        }
    }
}

/// The selector of an item that is for every pod of namespaces.
fn namespaces_alone(peer: &Peer) -> Option<&Selector> {
    match peer {
        Peer::Pods { namespaces, pods } if pods.requirements.is_empty() => namespaces.as_ref(),
        Peer::Pods { .. } | Peer::Block(_) | Peer::Invalid { .. } => None,
    }
}

/// The selector of an item that is for some pods of the policy's own namespace.
fn pods_alone(peer: &Peer) -> Option<&Selector> {
    match peer {
        Peer::Pods { namespaces: None, pods } => {
            Some(pods).filter(|pods| !pods.requirements.is_empty())
        }
        Peer::Pods { .. } | Peer::Block(_) | Peer::Invalid { .. } => None,
    }
}

/// Where a pod selector matches something.
struct Matching<'a> {
    context: &'a Context<'a>,
    own: &'a str,
    here: bool,
    elsewhere: BTreeSet<&'a str>,
}

impl<'a> Matching<'a> {
    fn of(context: &'a Context<'a>, located: &Located<'a>, pods: &Selector) -> Self {
        let own = located.name.namespace.as_str();
        let all = context.snapshot.pods.iter();
        let all = all.filter(|(_, pod)| pod.is_subject() && pods.matches(&pod.labels));
        let mut elsewhere: BTreeSet<&str> = all.map(|(name, _)| name.namespace.as_str()).collect();
        let here = elsewhere.remove(own);
        Self { context, own, here, elsewhere }
    }

    /// Whether pods of these namespaces were likely meant.
    fn suggests(&self, namespaces: &Selector) -> bool {
        let inside = |name: &&str| self.context.in_namespaces(self.own, Some(namespaces), name);
        !self.here || self.elsewhere.iter().any(inside)
    }
}
