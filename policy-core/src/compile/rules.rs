//! Stage 1: policies into compiled rules.
//!
//! Input: the snapshot and the policies and pods that a change touches. Output: the policies that select
//! each pod of the scope, their rules in working form, and the distinct peer lists of these rules.
//! What a rule cannot express becomes a fault, and the rule then allows less, never more.
//!
//! Policies that select no pod of the scope are left out: they change no verdict here, and their
//! peers would only split identities. For example, on a node with the one pod `shop/web`:
//!
//! ```text
//! policy shop/allow   podSelector app=web    compiled, its peer list gets an id
//! policy shop/db      podSelector app=db     left out: no pod here has the label
//! ```

mod cluster_policy;
pub(crate) mod lists;
mod merge;
mod network_policy;
pub(crate) mod peer_list;
pub(crate) mod rule;
mod selection;
mod selection_index;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    compile::{change::Touched, registry::Delta, rules::rule::CompiledPolicy, scope::Scope},
    fault::Fault,
    model::{ObjectName, Pod, PolicyRef, Snapshot},
};

use lists::{ListsDelta, PeerLists};
use selection::TierOrder;
use selection_index::SelectionIndex;

pub(crate) use selection_index::{PolicyId, Selected, SelectedPolicy};

/// Compiled policies, and which of them select which pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// The node; `None` for the whole cluster.
    node: Option<String>,
    order: TierOrder,
    policies: SelectionIndex,
    lists: PeerLists,
    subjects: BTreeMap<ObjectName, Subject>,
    /// Faults by policy: of those that select a pod; for the cluster, of all.
    faults: BTreeMap<PolicyRef, Vec<Fault>>,
}

/// A pod of the scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// Policies that isolate it, in the order in which they decide.
    pub(crate) policies: Selected,
    /// Its addresses that packets can carry.
    pub(crate) addresses: Vec<IpAddr>,
}

/// What a change did to the rules.
#[derive(Debug, Default)]
pub(crate) struct RulesDelta {
    /// Pods that other policies may select, or the same ones with other rules; also those that
    /// are gone.
    pub(crate) subjects: BTreeSet<ObjectName>,
    /// Policies that came into use or got other rules; `None` for those that fell out of use.
    pub(crate) policies: BTreeMap<PolicyRef, Option<Arc<CompiledPolicy>>>,
    /// Peer lists that came into use or fell out of it.
    pub(crate) lists: ListsDelta,
    /// How many policies were compiled.
    pub(crate) compiled: usize,
    /// Whether faults changed.
    pub(crate) faults: bool,
}

impl Rules {
    /// No rules yet.
    pub(crate) fn new(scope: Scope<'_>) -> Self {
        let node = match scope {
            Scope::Node(node) => Some(node.to_owned()),
            Scope::Cluster => None,
        };
        Self { node, ..Self::default() }
    }

    /// Compiles what a change touches.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, touched: &Touched) -> RulesDelta {
        if touched.tiers {
            self.order = TierOrder::of(snapshot);
        }
        let mut delta = RulesDelta::default();
        self.retire(snapshot, touched, &mut delta);
        self.select(snapshot, touched);
        delta.subjects.clone_from(&touched.subjects);
        // Rules are merged by the subjects that they have in common, so that no other change
        // can join other rules.
        if !touched.subjects.is_empty() {
            self.merge(&mut delta);
        }
        let policies = self.policies.take_delta();
        delta.compiled = policies.added.len();
        self.enter(policies, &mut delta);
        delta.lists = self.lists.take_delta();
        delta
    }

    /// Makes policies that changed be compiled at their next use.
    fn retire(&mut self, snapshot: &Snapshot, touched: &Touched, delta: &mut RulesDelta) {
        for name in &touched.policies {
            self.policies.retire(name);
            delta.faults |= self.faults.remove(name).is_some();
            if self.node.is_some() {
                continue;
            }
            // For the cluster, faults of policies that select nothing are reported too.
            if let Some(policy) = snapshot.policy(name) {
                let faults = selection_index::compile_policy(policy, snapshot).1;
                delta.faults |= !faults.is_empty();
                self.faults.insert(name.clone(), faults);
            }
        }
    }

    /// Finds the policies that select the touched pods.
    fn select(&mut self, snapshot: &Snapshot, touched: &Touched) {
        // New uses come first: a policy that stays in use is not compiled again.
        let mut released = Vec::new();
        for name in &touched.subjects {
            let Some(pod) = snapshot.pods.get(name).filter(|pod| self.is_subject(pod)) else {
                released.extend(self.subjects.remove(name).map(|subject| subject.policies));
                continue;
            };
            let mut policies = Selected::default();
            for selecting in self.order.selecting(snapshot, &name.namespace, pod) {
                for (direction, policies) in policies.iter_mut() {
                    if selecting.isolates[direction] {
                        policies.push(self.policies.acquire(selecting.policy, snapshot));
                    }
                }
            }
            let subject = Subject { policies, addresses: pod.usable_addresses().collect() };
            let before = self.subjects.insert(name.clone(), subject);
            released.extend(before.map(|subject| subject.policies));
        }
        for id in released.into_iter().flatten().flatten() {
            self.policies.release(id);
        }
    }

    /// Merges rules of blocks where there are many; see [`merge`].
    fn merge(&mut self, delta: &mut RulesDelta) {
        let selected: Vec<&Selected> = self.subjects.values().map(|one| &one.policies).collect();
        let replaced = self.policies.merge(&selected);
        if replaced.is_empty() {
            return;
        }
        for (name, subject) in &mut self.subjects {
            for id in subject.policies.iter_mut().flat_map(|(_, ids)| ids) {
                if let Some(new) = replaced.get(id) {
                    *id = *new;
                    delta.subjects.insert(name.clone());
                }
            }
        }
    }

    /// Counts the peer lists of policies that came into use or fell out of it.
    fn enter(&mut self, policies: Delta<PolicyRef, SelectedPolicy>, delta: &mut RulesDelta) {
        // New lists before old ones: a list that both have keeps its id, and with it its identities.
        for id in &policies.added {
            if let Some(selected) = self.policies.get_mut(*id) {
                self.lists.acquire(Arc::make_mut(&mut selected.policy));
            }
        }
        for gone in policies.removed {
            self.lists.release(&gone.value.policy);
            if self.node.is_some() {
                let faults = self.faults.remove(&gone.key);
                delta.faults |= faults.is_some_and(|faults| !faults.is_empty());
            }
            delta.policies.insert(gone.key, None);
        }
        // A policy that changed is among both; its new rules are written last.
        for id in policies.added {
            let Some((name, selected)) = self.policies.named(id) else { continue };
            delta.policies.insert(name.clone(), Some(Arc::clone(&selected.policy)));
            delta.faults |= !selected.faults.is_empty();
            self.faults.insert(name.clone(), selected.faults.clone());
        }
    }

    /// Whether a pod is one of the scope that policy applies to.
    pub(crate) fn is_subject(&self, pod: &Pod) -> bool {
        pod.is_subject() && self.is_local(pod)
    }

    /// Whether a pod is on the node of the scope.
    pub(crate) fn is_local(&self, pod: &Pod) -> bool {
        self.node.is_none() || pod.node == self.node
    }

    /// The node of the scope; `None` for the whole cluster.
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The pods of the scope.
    pub(crate) fn subjects(&self) -> &BTreeMap<ObjectName, Subject> {
        &self.subjects
    }

    /// Names of the pods of the scope in a namespace.
    pub(crate) fn subjects_in<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a ObjectName> {
        let from = self.subjects.range(ObjectName::new(namespace, "")..).map(|(name, _)| name);
        from.take_while(move |name| name.namespace == namespace)
    }

    /// The policies of some ids, with their names.
    pub(crate) fn policies<'a>(
        &'a self,
        ids: &'a [PolicyId],
    ) -> impl Iterator<Item = (&'a PolicyRef, &'a SelectedPolicy)> {
        ids.iter().filter_map(|id| self.policies.named(*id))
    }

    /// The peer lists of all rules in use.
    pub(crate) fn lists(&self) -> &PeerLists {
        &self.lists
    }

    /// Faults of policies.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values().flatten()
    }

    /// How many policies are in use.
    pub(crate) fn len(&self) -> usize {
        self.policies.len()
    }

    /// How many ids are spent on what is gone.
    pub(crate) fn spent(&self) -> usize {
        self.policies.spent() + self.lists.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.policies.is_sound() && self.lists.is_sound()
    }
}
