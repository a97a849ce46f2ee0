//! The policies in use: those that select a pod of the scope, each compiled once.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    compile::{
        registry::{Delta, Id, Registry},
        rules::{merge, network_policy::RuleCompiler, rule::CompiledPolicy},
    },
    fault::Fault,
    model::{AnyPolicy, Direction, Node, PerDirection, PolicyRef, Snapshot},
};

/// Id of a policy as it was compiled: the same policy with other rules gets another id.
pub(crate) type PolicyId = Id<PolicyRef>;

/// Policies that isolate a pod, in the order in which they decide.
pub(crate) type Selected = PerDirection<Vec<PolicyId>>;

/// A policy in use.
#[derive(Clone, Debug)]
pub(crate) struct SelectedPolicy {
    pub(crate) policy: Arc<CompiledPolicy>,
    pub(crate) faults: Vec<Fault>,
}

/// Compiled policies, with one use for each pod and direction that they isolate.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectionIndex(Registry<PolicyRef, SelectedPolicy>);

impl SelectionIndex {
    /// The id of a policy, for one more use; a policy without uses is compiled.
    pub(crate) fn acquire(&mut self, policy: AnyPolicy<'_>, snapshot: &Snapshot) -> PolicyId {
        let name = policy.name();
        self.0.acquire(&name).unwrap_or_else(|| {
            let (policy, faults) = compile_policy(policy, snapshot);
            self.0.insert(name, SelectedPolicy { policy: policy.into(), faults })
        })
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: PolicyId) {
        self.0.release(id);
    }

    /// Makes the next use of a policy compile it again.
    pub(crate) fn retire(&mut self, name: &PolicyRef) {
        self.0.retire(name);
    }

    /// Merges rules of blocks where there are many; see [`merge`]. Returns the new ids of policies
    /// with other merged rules, by their old ids.
    pub(crate) fn merge(&mut self, subjects: &[&Selected]) -> BTreeMap<PolicyId, PolicyId> {
        // The order of names does not depend on the order of changes.
        let (ids, policies): (Vec<PolicyId>, Vec<&CompiledPolicy>) =
            self.0.in_use().map(|(_, id, selected)| (id, &*selected.policy)).unzip();
        if !merge::is_needed(&policies) {
            return BTreeMap::new();
        }
        let index: BTreeMap<PolicyId, usize> = ids.iter().copied().zip(0..).collect();
        let places = |ids: &Vec<PolicyId>| ids.iter().map(|id| index[id]).collect();
        let selected: Vec<PerDirection<Vec<usize>>> =
            subjects.iter().map(|policies| policies.as_ref().map(places)).collect();
        let mut merged: Vec<CompiledPolicy> = policies.into_iter().cloned().collect();
        merge::blocks(&mut merged, &selected);
        let mut replaced = BTreeMap::new();
        for (id, policy) in ids.into_iter().zip(merged) {
            let Some(before) = self.0.get(id).filter(|before| *before.policy != policy) else {
                continue;
            };
            let faults = before.faults.clone();
            let new = self.0.replace(id, SelectedPolicy { policy: policy.into(), faults });
            replaced.extend(new.map(|new| (id, new)));
        }
        replaced
    }

    /// What changed since the last delta.
    pub(crate) fn take_delta(&mut self) -> Delta<PolicyRef, SelectedPolicy> {
        self.0.take_delta()
    }

    /// A policy with its name.
    pub(crate) fn named(&self, id: PolicyId) -> Option<(&PolicyRef, &SelectedPolicy)> {
        Some((self.0.key(id)?, self.0.get(id)?))
    }

    /// A policy, to change it.
    pub(crate) fn get_mut(&mut self, id: PolicyId) -> Option<&mut SelectedPolicy> {
        self.0.get_mut(id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many ids are spent on policies that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.0.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.0.is_sound()
    }
}

/// A policy in working form, and its faults.
pub(crate) fn compile_policy(
    policy: AnyPolicy<'_>,
    snapshot: &Snapshot,
) -> (CompiledPolicy, Vec<Fault>) {
    let mut rules = RuleCompiler::default();
    let policy = match policy {
        AnyPolicy::Namespaced(name, policy) => {
            let nodes = snapshot.nodes.values();
            let open = nodes.filter(|node| node.is_open_to_pods).flat_map(Node::own_addresses);
            let open = open.filter(|_| policy.applies(Direction::Egress)).collect();
            rules.policy(name, policy, open)
        }
        AnyPolicy::ClusterWide(name, policy) => rules.cluster_policy(name, policy, snapshot),
    };
    (policy, rules.faults)
}
