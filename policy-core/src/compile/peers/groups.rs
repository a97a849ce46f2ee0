//! Pods by what policies see of them: those of a namespace with the same labels and named ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    compile::{
        peers::{
            lists::{ListChanges, ListId, Lists},
            selectors::{self, Selectors},
            sets::{SetId, Sets},
        },
        rules::peer_list::Namespaces,
    },
    model::{ContainerPort, Labels, Pod, Snapshot, Workload},
};

/// Number of a group; given out again once its group is gone.
pub(crate) type GroupId = u32;

/// Labels and named ports.
type Sight = (Labels, Arc<[ContainerPort]>);

/// The pods that policy knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    namespaces: BTreeMap<String, Namespace>,
    all: Vec<Option<Group>>,
    free: Vec<GroupId>,
    /// Groups whose lists are not known yet, by namespace.
    fresh: BTreeMap<String, BTreeSet<GroupId>>,
}

#[derive(Clone, Debug, Default)]
struct Namespace {
    labels: Labels,
    groups: BTreeMap<Sight, GroupId>,
}

/// Pods that policies cannot tell apart, but by their addresses.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    labels: Labels,
    pub(crate) ports: Arc<[ContainerPort]>,
    workload: Option<Arc<Workload>>,
    pods: usize,
    pub(crate) addresses: Vec<IpAddr>,
    /// The peer lists that match them.
    pub(crate) lists: SetId,
}

fn sight(pod: &Pod) -> Sight {
    let named = pod.ports.iter().filter(|port| port.name.is_some());
    (pod.labels.clone(), named.cloned().collect())
}

/// The distinct addresses of a pod that packets can carry.
pub(crate) fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = pod.usable_addresses().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl Groups {
    /// Takes a pod in.
    pub(crate) fn insert(&mut self, namespace: &str, pod: &Pod, snapshot: &Snapshot) -> GroupId {
        if !self.namespaces.contains_key(namespace) {
            let labels = snapshot.namespace_labels(namespace).into_owned();
            let groups = BTreeMap::new();
            self.namespaces.insert(namespace.to_owned(), Namespace { labels, groups });
        }
        let sight = sight(pod);
        let (all, free, fresh) = (&mut self.all, &mut self.free, &mut self.fresh);
        let groups = &mut self.namespaces.entry(namespace.to_owned()).or_default().groups;
        let id = *groups.entry(sight).or_insert_with_key(|(labels, ports)| {
            let group = Group {
                namespace: namespace.to_owned(),
                labels: labels.clone(),
                ports: Arc::clone(ports),
                workload: pod.workload.clone(),
                pods: 0,
                addresses: Vec::new(),
                lists: 0,
            };
            let id = free.pop().unwrap_or_else(|| {
                all.push(None);
                GroupId::try_from(all.len() - 1).unwrap_or(GroupId::MAX)
            });
            all[id as usize] = Some(group);
            fresh.entry(namespace.to_owned()).or_default().insert(id);
            id
        });
        if let Some(group) = &mut self.all[id as usize] {
            group.pods += 1;
            group.addresses.extend(addresses(pod));
        }
        id
    }

    /// Lets a pod go.
    pub(crate) fn remove(&mut self, namespace: &str, pod: &Pod) -> Option<GroupId> {
        let here = self.namespaces.get_mut(namespace)?;
        let sight = sight(pod);
        let id = *here.groups.get(&sight)?;
        let group = self.all[id as usize].as_mut()?;
        group.pods -= 1;
        for address in addresses(pod) {
            if let Some(at) = group.addresses.iter().position(|one| *one == address) {
                group.addresses.swap_remove(at);
            }
        }
        if group.pods == 0 {
            here.groups.remove(&sight);
            if here.groups.is_empty() {
                self.namespaces.remove(namespace);
            }
            if let Some(fresh) = self.fresh.get_mut(namespace) {
                fresh.remove(&id);
            }
            self.all[id as usize] = None;
            self.free.push(id);
        }
        Some(id)
    }

    /// Lets a pod share the memory of what others like it have, too.
    pub(crate) fn share(&self, namespace: &str, pod: &mut Pod) {
        let Some(here) = self.namespaces.get(namespace) else { return };
        let Some((sight, id)) = here.groups.get_key_value(&sight(pod)) else { return };
        pod.labels = sight.0.clone();
        let workload = self.get(*id).and_then(|group| group.workload.as_ref());
        if let Some(same) = workload.filter(|workload| pod.workload.as_ref() == Some(workload)) {
            pod.workload = Some(Arc::clone(same));
        }
    }

    /// A group.
    pub(crate) fn get(&self, id: GroupId) -> Option<&Group> {
        self.all.get(id as usize)?.as_ref()
    }

    /// Takes new labels of a namespace over.
    pub(crate) fn relabel(&mut self, namespace: &str, snapshot: &Snapshot) {
        if let Some(here) = self.namespaces.get_mut(namespace) {
            here.labels = snapshot.namespace_labels(namespace).into_owned();
            let fresh = self.fresh.entry(namespace.to_owned()).or_default();
            fresh.extend(here.groups.values());
        }
    }

    /// Finds the lists of new groups; tells of which groups the lists are others now.
    pub(crate) fn select(&mut self, selectors: &Selectors, sets: &mut Sets) -> BTreeSet<GroupId> {
        let mut changed = BTreeSet::new();
        for (namespace, groups) in std::mem::take(&mut self.fresh) {
            let Some(here) = self.namespaces.get(&namespace) else { continue };
            let candidates = selectors.in_namespace(&namespace, &here.labels);
            for id in groups {
                let Some(group) = &mut self.all[id as usize] else { continue };
                let lists = sets.intern(candidates.matching(&group.labels));
                if lists != group.lists {
                    group.lists = lists;
                    changed.insert(id);
                }
            }
        }
        changed
    }

    /// Brings lists that came and went to the groups that they match.
    pub(crate) fn follow(
        &mut self,
        changes: &ListChanges,
        lists: &Lists,
        sets: &mut Sets,
    ) -> BTreeSet<GroupId> {
        let mut edits: BTreeMap<GroupId, Vec<ListId>> = BTreeMap::new();
        let came = changes.came.iter().filter_map(|id| Some((*id, lists.get(*id)?)));
        let went = changes.went.iter().map(|(id, list)| (*id, list));
        for (id, list) in came.chain(went) {
            for (namespaces, pods) in selectors::selectors(list) {
                for here in self.meant(namespaces) {
                    let groups = here.groups.iter();
                    let matching = groups.filter(|((labels, _), _)| pods.matches(labels));
                    for (_, group) in matching {
                        edits.entry(*group).or_default().push(id);
                    }
                }
            }
        }
        let mut found = BTreeSet::new();
        for (id, edit) in edits {
            let Some(group) = &mut self.all[id as usize] else { continue };
            let stays = |id: &ListId| !changes.went.contains_key(id);
            let old = sets.get(group.lists).iter().copied();
            let all: Vec<_> = old.chain(edit).filter(stays).collect();
            group.lists = sets.intern(all);
            found.insert(id);
        }
        found
    }

    fn meant<'a>(
        &'a self,
        namespaces: &'a Namespaces,
    ) -> Box<dyn Iterator<Item = &'a Namespace> + 'a> {
        match namespaces {
            Namespaces::Own(own) => Box::new(self.namespaces.get(own).into_iter()),
            Namespaces::Matching(_) => {
                let all = self.namespaces.iter();
                let here =
                    all.filter(|(name, one)| selectors::means(namespaces, name, &one.labels));
                Box::new(here.map(|(_, one)| one))
            }
        }
    }
}
