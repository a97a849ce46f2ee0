//! Which peer lists match a pod by its labels (S12-S16).

use std::collections::{BTreeSet, HashMap};

use crate::model::{Labels, Pod, Selector, Snapshot};

use super::{
    lists::{ListId, Lists, SetId, Sets},
    meaning::{Namespaces, PeerKey},
};

/// The label that every namespace has, with its name (S9).
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Matches pods, namespace by namespace; equal labels are matched once in each.
pub(super) struct Selection<'a> {
    snapshot: &'a Snapshot,
    peers: Vec<(&'a Namespaces, &'a Selector, Vec<ListId>)>,
    /// Label keys that some selector asks for; others cannot matter.
    keys: BTreeSet<&'a str>,
    namespace: Option<&'a str>,
    candidates: Vec<usize>,
    known: HashMap<Vec<(&'a str, &'a str)>, SetId>,
}

impl<'a> Selection<'a> {
    /// Takes the peers that select pods.
    pub(super) fn new(snapshot: &'a Snapshot, lists: &'a Lists) -> Self {
        let peers: Vec<_> = lists
            .by_peer()
            .into_iter()
            .filter_map(|(peer, ids)| match peer {
                PeerKey::Pods { namespaces, pods } => Some((namespaces, pods, ids)),
                PeerKey::Block { .. } => None,
            })
            .collect();
        let requirements = peers.iter().flat_map(|(_, pods, _)| &pods.requirements);
        let keys = requirements.map(|requirement| requirement.key.as_str()).collect();
        let candidates = Vec::new();
        Self { snapshot, peers, keys, namespace: None, candidates, known: HashMap::new() }
    }

    /// The lists that match a pod. Quick where calls come ordered by namespace.
    pub(super) fn lists_of(&mut self, namespace: &'a str, pod: &'a Pod, sets: &mut Sets) -> SetId {
        if self.namespace != Some(namespace) {
            self.enter(namespace);
        }
        if self.candidates.is_empty() {
            return 0;
        }
        let labels = pod.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let relevant: Vec<_> = labels.filter(|(key, _)| self.keys.contains(key)).collect();
        if let Some(&set) = self.known.get(&relevant) {
            return set;
        }
        let peers = self.candidates.iter().map(|&index| &self.peers[index]);
        let matching = peers.filter(|(_, pods, _)| pods.matches(&pod.labels));
        let set = sets.intern(matching.flat_map(|(_, _, ids)| ids).copied().collect());
        self.known.insert(relevant, set);
        set
    }

    /// Finds the peers that mean pods of this namespace.
    fn enter(&mut self, namespace: &'a str) {
        let mut labels: Labels =
            self.snapshot.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAMESPACE_NAME.to_owned(), namespace.to_owned());
        self.namespace = Some(namespace);
        self.known.clear();
        self.candidates.clear();
        // Peers are sorted, so those with the same namespace selector follow one another.
        let mut before: Option<(&Namespaces, bool)> = None;
        for (index, (namespaces, _, _)) in self.peers.iter().enumerate() {
            let matches = match (before, namespaces) {
                (Some((same, matches)), _) if same == *namespaces => matches,
                (_, Namespaces::Own(own)) => own == namespace,
                (_, Namespaces::Matching(selector)) => selector.matches(&labels),
            };
            before = Some((namespaces, matches));
            if matches {
                self.candidates.push(index);
            }
        }
    }
}
