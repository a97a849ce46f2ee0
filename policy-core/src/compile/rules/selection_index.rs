//! The policies in force: those that select a pod of the scope. Others tell no addresses apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    compile::rules::{merge, network_policy::RuleCompiler, rule::CompiledPolicy},
    fault::Fault,
    model::{AnyPolicy, PolicyRef, Snapshot},
};

/// Number of a policy as it was compiled, never given out again.
pub(crate) type PolicyId = u64;

/// Policies that select each subject, in order, for ingress and egress.
pub(crate) type Selected = [Vec<PolicyId>; 2];

/// Compiled policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectionIndex {
    all: BTreeMap<PolicyId, SelectedPolicy>,
    by_name: BTreeMap<PolicyRef, PolicyId>,
    next: PolicyId,
    /// Policies that came or went since they were last taken.
    came: BTreeSet<PolicyId>,
    went: Vec<SelectedPolicy>,
}

#[derive(Clone, Debug)]
pub(crate) struct SelectedPolicy {
    pub(crate) name: PolicyRef,
    pub(crate) policy: Arc<CompiledPolicy>,
    pub(crate) faults: Vec<Fault>,
    /// Subjects that it selects, counted once for each direction.
    uses: usize,
}

impl SelectionIndex {
    /// The number of a policy for one more use; one that is new is compiled.
    pub(crate) fn acquire(&mut self, policy: AnyPolicy<'_>, snapshot: &Snapshot) -> PolicyId {
        let name = policy.name();
        if let Some(known) = self.by_name.get(&name).and_then(|id| self.all.get_mut(id)) {
            known.uses += 1;
            return self.by_name[&name];
        }
        let (policy, faults) = compiled(policy, snapshot);
        let id = self.insert(SelectedPolicy {
            name: name.clone(),
            policy: policy.into(),
            faults,
            uses: 1,
        });
        self.by_name.insert(name, id);
        id
    }

    fn insert(&mut self, forced: SelectedPolicy) -> PolicyId {
        self.next += 1;
        self.all.insert(self.next, forced);
        self.came.insert(self.next);
        self.next
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: PolicyId) {
        let Some(forced) = self.all.get_mut(&id) else { return };
        forced.uses -= 1;
        if forced.uses == 0 {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: PolicyId) -> Option<SelectedPolicy> {
        let forced = self.all.remove(&id)?;
        if self.by_name.get(&forced.name) == Some(&id) {
            self.by_name.remove(&forced.name);
        }
        if !self.came.remove(&id) {
            self.went.push(forced.clone());
        }
        Some(forced)
    }

    /// Lets the next use of a policy compile it anew.
    pub(crate) fn outdate(&mut self, name: &PolicyRef) {
        self.by_name.remove(name);
    }

    /// Joins the blocks of rules that come to the same; tells which numbers take whose place.
    pub(crate) fn merge(&mut self, subjects: &[&Selected]) -> BTreeMap<PolicyId, PolicyId> {
        // In the order of names, which is the same however they came into force.
        let ids: Vec<PolicyId> = self.by_name.values().copied().collect();
        let policies: Vec<&CompiledPolicy> = ids.iter().map(|id| &*self.all[id].policy).collect();
        if !merge::is_needed(&policies) {
            return BTreeMap::new();
        }
        let index: BTreeMap<PolicyId, usize> = ids.iter().copied().zip(0..).collect();
        let selected: Vec<_> = subjects
            .iter()
            .map(|both| {
                let [ingress, egress] = both;
                [ingress, egress].map(|ids| ids.iter().map(|id| index[id]).collect::<Vec<_>>())
            })
            .collect();
        let mut joined: Vec<CompiledPolicy> = policies.into_iter().cloned().collect();
        merge::blocks(&mut joined, &selected);
        let mut replaced = BTreeMap::new();
        for (id, policy) in ids.into_iter().zip(joined) {
            if *self.all[&id].policy == policy {
                continue;
            }
            let Some(old) = self.remove(id) else { continue };
            let name = old.name.clone();
            let new = self.insert(SelectedPolicy { policy: policy.into(), ..old });
            self.by_name.insert(name, new);
            replaced.insert(id, new);
        }
        replaced
    }

    /// What came and what went.
    pub(crate) fn take_changes(&mut self) -> (BTreeSet<PolicyId>, Vec<SelectedPolicy>) {
        (std::mem::take(&mut self.came), std::mem::take(&mut self.went))
    }

    /// A policy.
    pub(crate) fn get(&self, id: PolicyId) -> Option<&SelectedPolicy> {
        self.all.get(&id)
    }

    /// The same, to change what it is.
    pub(crate) fn get_mut(&mut self, id: PolicyId) -> Option<&mut SelectedPolicy> {
        self.all.get_mut(&id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

/// A policy in working form, and what cannot be expressed.
pub(crate) fn compiled(policy: AnyPolicy<'_>, snapshot: &Snapshot) -> (CompiledPolicy, Vec<Fault>) {
    let mut rules = RuleCompiler::default();
    let policy = match policy {
        AnyPolicy::Namespaced(name, policy) => rules.policy(name, policy),
        AnyPolicy::ClusterWide(name, policy) => rules.cluster_policy(name, policy, snapshot),
    };
    (policy, rules.faults)
}
