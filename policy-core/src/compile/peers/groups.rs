//! Groups of pods that policies cannot distinguish except by their addresses.
//!
//! A policy sees of a pod its namespace, its labels and its named ports. Pods that agree in all of
//! these are matched by the same selectors, so that the selectors are evaluated once for a group:
//!
//! ```text
//! shop/web-1   app=web            10.0.0.7 ┐
//! shop/web-2   app=web            10.0.0.8 ┴ group 1, two addresses
//! shop/web-3   app=web, canary    10.0.0.9 ─ group 2
//! test/web-1   app=web            10.0.1.3 ─ group 3: another namespace
//! ```
//!
//! A Deployment of 1000 replicas is one group. When the labels of a pod change, the pod moves to
//! another group; when a selector comes into use, it is evaluated once for each group.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    compile::{
        peers::{
            selectors::{self, Selectors},
            sets::{EMPTY, ListSetId, ListSets},
        },
        registry::{Id, Registry},
        rules::{
            lists::{ListId, ListsDelta, PeerLists},
            peer_list::Namespaces,
        },
    },
    model::{ContainerPort, Labels, Pod, Snapshot, Workload},
};

/// Id of a group.
pub(super) type GroupId = Id<GroupKey>;

/// What policies see of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupKey {
    namespace: Arc<str>,
    labels: Labels,
    /// Container ports that have a name.
    named_ports: Arc<[ContainerPort]>,
}

/// Pods with the same key.
#[derive(Clone, Debug)]
struct Group {
    /// The workload of the first pod, for pods to share its memory.
    workload: Option<Arc<Workload>>,
    /// Addresses of the pods; twice where two of them have the same.
    addresses: Vec<IpAddr>,
    /// The peer lists that match the pods.
    set: ListSetId,
}

/// Every group, with one use for each of its pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    registry: Registry<GroupKey, Group>,
    namespaces: BTreeMap<Arc<str>, GroupedNamespace>,
    /// Namespaces with other labels.
    relabelled: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug, Default)]
struct GroupedNamespace {
    labels: Labels,
    groups: BTreeSet<GroupId>,
}

impl Groups {
    /// Adds a pod, with its addresses, to the group that it belongs to.
    pub(super) fn insert(
        &mut self,
        namespace: &str,
        pod: &Pod,
        addresses: &[IpAddr],
        snapshot: &Snapshot,
    ) -> GroupId {
        if !self.namespaces.contains_key(namespace) {
            let labels = snapshot.namespace_labels(namespace).into_owned();
            let groups = BTreeSet::new();
            self.namespaces.insert(namespace.into(), GroupedNamespace { labels, groups });
        }
        let key = self.key(namespace, pod);
        let id = self.registry.acquire(&key).unwrap_or_else(|| {
            let (workload, addresses) = (pod.workload.clone(), Vec::new());
            self.registry.insert(key, Group { workload, addresses, set: EMPTY })
        });
        if let Some(group) = self.registry.get_mut(id) {
            group.addresses.extend(addresses);
        }
        id
    }

    /// Removes a pod from its group; returns the group that it was in.
    pub(super) fn remove(
        &mut self,
        namespace: &str,
        pod: &Pod,
        addresses: &[IpAddr],
    ) -> Option<GroupId> {
        let id = self.registry.id(&self.key(namespace, pod));
        debug_assert!(id.is_some(), "a pod of {namespace} leaves a group that does not exist");
        let id = id?;
        let group = self.registry.get_mut(id)?;
        for address in addresses {
            // One of them: another pod of the group may have the same address for a moment.
            if let Some(at) = group.addresses.iter().position(|one| one == address) {
                group.addresses.swap_remove(at);
            }
        }
        self.registry.release(id);
        Some(id)
    }

    fn key(&self, namespace: &str, pod: &Pod) -> GroupKey {
        let shared = self.namespaces.get_key_value(namespace).map(|(name, _)| Arc::clone(name));
        let named = pod.ports.iter().filter(|port| port.name.is_some());
        GroupKey {
            namespace: shared.unwrap_or_else(|| namespace.into()),
            labels: pod.labels.clone(),
            named_ports: named.cloned().collect(),
        }
    }

    /// Takes over the labels of a namespace.
    pub(super) fn relabel(&mut self, namespace: &str, snapshot: &Snapshot) {
        let Some((name, _)) = self.namespaces.get_key_value(namespace) else { return };
        let name = Arc::clone(name);
        let labels = snapshot.namespace_labels(namespace).into_owned();
        self.namespaces.entry(Arc::clone(&name)).or_default().labels = labels;
        self.relabelled.insert(name);
    }

    /// Finds the lists of new groups, and matches changed lists with all groups. Returns the
    /// groups that other lists match now.
    pub(super) fn update(
        &mut self,
        lists: &PeerLists,
        delta: &ListsDelta,
        selectors: &Selectors,
        sets: &mut ListSets,
    ) -> BTreeSet<GroupId> {
        let fresh = self.update_namespaces();
        let mut changed = self.match_lists(lists, delta, sets);
        // New groups match all lists, the changed ones among them, and therefore come last.
        changed.extend(self.match_groups(fresh, selectors, sets));
        changed
    }

    /// Brings the groups of each namespace up to date; returns those that must be matched with
    /// all lists, by namespace.
    fn update_namespaces(&mut self) -> BTreeMap<Arc<str>, BTreeSet<GroupId>> {
        let groups = self.registry.take_delta();
        let mut fresh: BTreeMap<Arc<str>, BTreeSet<GroupId>> = BTreeMap::new();
        // Added groups before removed ones: a namespace that keeps a group keeps its labels.
        for id in groups.added {
            let Some(key) = self.registry.key(id) else { continue };
            let namespace = &key.namespace;
            self.namespaces.entry(Arc::clone(namespace)).or_default().groups.insert(id);
            fresh.entry(Arc::clone(namespace)).or_default().insert(id);
        }
        for gone in groups.removed {
            let Some(here) = self.namespaces.get_mut(&gone.key.namespace) else { continue };
            here.groups.remove(&gone.id);
            if here.groups.is_empty() {
                self.namespaces.remove(&gone.key.namespace);
            }
        }
        for name in std::mem::take(&mut self.relabelled) {
            if let Some(here) = self.namespaces.get(&name) {
                // Other labels of a namespace can make any `namespaceSelector` match or not, so
                // that all its groups are matched as if they were new.
                fresh.insert(name, here.groups.clone());
            }
        }
        fresh
    }

    /// Adds lists that came into use to the groups that they match, and removes the others.
    fn match_lists(
        &mut self,
        lists: &PeerLists,
        delta: &ListsDelta,
        sets: &mut ListSets,
    ) -> BTreeSet<GroupId> {
        // Of a group that several changed lists match, the set is made once: a policy with ten new rules
        // would otherwise intern ten sets, nine of which no group ever has.
        let mut edits: BTreeMap<GroupId, Vec<ListId>> = BTreeMap::new();
        let added = delta.added.iter().filter_map(|id| Some((*id, lists.get(*id)?)));
        let removed = delta.removed.iter().map(|(id, list)| (*id, list));
        for (id, list) in added.chain(removed) {
            for (namespaces, pods) in selectors::of(list) {
                for group in self.matching(namespaces) {
                    let key = self.registry.key(group);
                    if key.is_some_and(|key| pods.matches(&key.labels)) {
                        edits.entry(group).or_default().push(id);
                    }
                }
            }
        }
        let changed = edits.keys().copied().collect();
        for (id, edit) in edits {
            let Some(group) = self.registry.get_mut(id) else { continue };
            let stays = |id: &ListId| !delta.removed.contains_key(id);
            // `edit` has added and removed lists alike; the filter drops the latter:
            // set {1, 2}, list 2 removed, list 5 added and matching: {1, 2} and [5, 2] give {1, 5}.
            let before = sets.get(group.set).iter().copied();
            let all: Vec<_> = before.chain(edit).filter(stays).collect();
            group.set = sets.intern(all);
        }
        changed
    }

    /// Finds the lists of groups; returns those that other lists match now.
    fn match_groups(
        &mut self,
        groups: BTreeMap<Arc<str>, BTreeSet<GroupId>>,
        selectors: &Selectors,
        sets: &mut ListSets,
    ) -> BTreeSet<GroupId> {
        let mut changed = BTreeSet::new();
        for (namespace, groups) in groups {
            let Some(here) = self.namespaces.get(&namespace) else { continue };
            // Which selectors apply to the namespace is the same for all its groups.
            let candidates = selectors.in_namespace(&namespace, &here.labels);
            for id in groups {
                let Some(key) = self.registry.key(id) else { continue };
                let set = sets.intern(candidates.matching(&key.labels));
                let Some(group) = self.registry.get_mut(id) else { continue };
                if set != group.set {
                    group.set = set;
                    changed.insert(id);
                }
            }
        }
        changed
    }

    /// The groups of the namespaces that a peer matches.
    fn matching<'a>(&'a self, namespaces: &'a Namespaces) -> impl Iterator<Item = GroupId> + 'a {
        let (own, all) = match namespaces {
            Namespaces::Own(own) => (self.namespaces.get(own.as_str()), None),
            Namespaces::Matching(selector) => (None, Some((selector, self.namespaces.values()))),
        };
        let matching = all.into_iter().flat_map(|(selector, all)| {
            all.filter(move |namespace| selector.matches(&namespace.labels))
        });
        own.into_iter().chain(matching).flat_map(|namespace| namespace.groups.iter().copied())
    }

    /// Makes a pod share the memory of what the pods of its group have.
    pub(super) fn share(&self, namespace: &str, pod: &mut Pod) {
        let Some(id) = self.registry.id(&self.key(namespace, pod)) else { return };
        let (Some(key), Some(group)) = (self.registry.key(id), self.registry.get(id)) else {
            return;
        };
        pod.labels = key.labels.clone();
        let same = group.workload.as_ref().filter(|same| pod.workload.as_ref() == Some(same));
        if let Some(same) = same {
            pod.workload = Some(Arc::clone(same));
        }
    }

    /// The lists that match the pods of a group.
    pub(super) fn set(&self, id: GroupId) -> ListSetId {
        self.registry.get(id).map_or(EMPTY, |group| group.set)
    }

    /// The addresses of the pods of a group.
    pub(super) fn addresses(&self, id: GroupId) -> &[IpAddr] {
        self.registry.get(id).map(|group| &*group.addresses).unwrap_or_default()
    }

    /// The namespace of a group.
    pub(super) fn namespace(&self, id: GroupId) -> Option<&str> {
        self.registry.key(id).map(|key| &*key.namespace)
    }

    /// The named ports of the pods of a group.
    pub(super) fn named_ports(&self, id: GroupId) -> Option<&[ContainerPort]> {
        self.registry.key(id).map(|key| &*key.named_ports)
    }

    /// How many ids are spent on groups that are gone.
    pub(super) fn spent(&self) -> usize {
        self.registry.spent()
    }

    /// Whether no invariant was found broken.
    pub(super) fn is_sound(&self) -> bool {
        self.registry.is_sound()
    }
}
