//! Which peer lists match a pod by its labels (S12-S16).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    compile::{
        peers::lists::ListId,
        rules::peer_list::{Namespaces, PeerKey, PeerList},
    },
    model::{Labels, Selector},
};

/// The selectors of pods in all peer lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors {
    by_namespaces: BTreeMap<Namespaces, BTreeMap<Selector, BTreeSet<ListId>>>,
}

impl Selectors {
    /// Takes the selectors of a list in.
    pub(crate) fn insert(&mut self, list: &PeerList, id: ListId) {
        for (namespaces, pods) in selectors(list) {
            let selectors = self.by_namespaces.entry(namespaces.clone()).or_default();
            selectors.entry(pods.clone()).or_default().insert(id);
        }
    }

    /// Lets them go.
    pub(crate) fn remove(&mut self, list: &PeerList, id: ListId) {
        for (namespaces, pods) in selectors(list) {
            let Some(selectors) = self.by_namespaces.get_mut(namespaces) else { continue };
            if let Some(lists) = selectors.get_mut(pods) {
                lists.remove(&id);
                if lists.is_empty() {
                    selectors.remove(pods);
                }
            }
            if selectors.is_empty() {
                self.by_namespaces.remove(namespaces);
            }
        }
    }

    /// Those that can match pods of a namespace with these labels.
    pub(crate) fn in_namespace(&self, name: &str, labels: &Labels) -> Candidates<'_> {
        let here = self.by_namespaces.iter().filter(|(spaces, _)| means(spaces, name, labels));
        Candidates(here.flat_map(|(_, selectors)| selectors).collect())
    }
}

/// Selectors that can match pods of one namespace.
pub(crate) struct Candidates<'a>(Vec<(&'a Selector, &'a BTreeSet<ListId>)>);

impl Candidates<'_> {
    /// The lists that match a pod with these labels.
    pub(crate) fn matching(&self, labels: &Labels) -> Vec<ListId> {
        let matching = self.0.iter().filter(|(pods, _)| pods.matches(labels));
        matching.flat_map(|(_, lists)| *lists).copied().collect()
    }
}

/// The peers of a list that are pods.
pub(crate) fn selectors(list: &PeerList) -> impl Iterator<Item = (&Namespaces, &Selector)> {
    list.peers().iter().filter_map(|peer| match peer {
        PeerKey::Pods { namespaces, pods } => Some((namespaces, pods)),
        PeerKey::Block { .. } => None,
    })
}

/// Whether a peer means pods of a namespace with these labels.
pub(crate) fn means(namespaces: &Namespaces, name: &str, labels: &Labels) -> bool {
    match namespaces {
        Namespaces::Own(own) => own == name,
        Namespaces::Matching(selector) => selector.matches(labels),
    }
}
