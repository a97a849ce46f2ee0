//! Which peer lists match a pod by its labels (S12-S16).

use std::collections::BTreeMap;

use crate::{
    compile::{
        index::Index,
        rules::{
            lists::ListId,
            peer_list::{Namespaces, PeerKey, PeerList},
        },
    },
    model::{Labels, Selector},
};

/// The selectors of pods in all peer lists, so that equal ones are evaluated once.
#[derive(Clone, Debug, Default)]
pub(super) struct Selectors(BTreeMap<Namespaces, Index<Selector, ListId>>);

impl Selectors {
    /// Adds the selectors of a list.
    pub(super) fn insert(&mut self, list: &PeerList, id: ListId) {
        for (namespaces, pods) in of(list) {
            self.0.entry(namespaces.clone()).or_default().insert(pods.clone(), id);
        }
    }

    /// Removes the selectors of a list.
    pub(super) fn remove(&mut self, list: &PeerList, id: ListId) {
        for (namespaces, pods) in of(list) {
            let Some(selectors) = self.0.get_mut(namespaces) else { continue };
            selectors.remove(pods, id);
            if selectors.is_empty() {
                self.0.remove(namespaces);
            }
        }
    }

    /// Those that can match pods of a namespace with these labels.
    pub(super) fn in_namespace(&self, name: &str, labels: &Labels) -> NamespaceSelectors<'_> {
        let here = self.0.iter().filter(|(namespaces, _)| match namespaces {
            Namespaces::Own(own) => own == name,
            Namespaces::Matching(selector) => selector.matches(labels),
        });
        NamespaceSelectors(here.map(|(_, selectors)| selectors).collect())
    }
}

/// Selectors that can match pods of one namespace.
pub(super) struct NamespaceSelectors<'a>(Vec<&'a Index<Selector, ListId>>);

impl NamespaceSelectors<'_> {
    /// The lists that match a pod with these labels.
    pub(super) fn matching(&self, labels: &Labels) -> Vec<ListId> {
        let all = self.0.iter().flat_map(|selectors| selectors.iter());
        let matching = all.filter(|(pods, _)| pods.matches(labels));
        matching.flat_map(|(_, lists)| lists).copied().collect()
    }
}

/// The peers of a list that are pods.
pub(super) fn of(list: &PeerList) -> impl Iterator<Item = (&Namespaces, &Selector)> {
    list.peers().iter().filter_map(|peer| match peer {
        PeerKey::Pods { namespaces, pods } => Some((namespaces, pods)),
        PeerKey::Block { .. } => None,
    })
}
