//! Which policies select which pods (S1-S7, S51).

use crate::model::{
    ClusterNetworkPolicy, Direction, NetworkPolicy, ObjectName, Pod, PodSet, Snapshot, Tier,
};

use super::{
    Scope,
    rule::{CompiledPolicy, RuleCompiler},
};

/// Index into `InForce::policies`.
pub(super) type PolicyIndex = usize;

/// A pod of the scope, and the policies that select it in each direction, in order.
pub(super) struct Subject<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) pod: &'a Pod,
    pub(super) ingress: Vec<PolicyIndex>,
    pub(super) egress: Vec<PolicyIndex>,
}

/// A policy that selects some pod of the scope. Others tell no addresses apart.
pub(super) struct ForcedPolicy<'a> {
    pub(super) name: ObjectName,
    policy: Policy<'a>,
}

/// A policy of either kind.
#[derive(Clone, Copy)]
enum Policy<'a> {
    Namespaced(&'a NetworkPolicy),
    Cluster(&'a ClusterNetworkPolicy),
}

/// What is to be enforced for the scope.
pub(super) struct InForce<'a> {
    pub(super) policies: Vec<ForcedPolicy<'a>>,
    pub(super) subjects: Vec<Subject<'a>>,
}

impl ForcedPolicy<'_> {
    /// Its rules in working form.
    pub(super) fn compile(&self, rules: &mut RuleCompiler, snapshot: &Snapshot) -> CompiledPolicy {
        match self.policy {
            Policy::Namespaced(policy) => rules.policy(&self.name, policy),
            Policy::Cluster(policy) => rules.cluster_policy(&self.name, policy, snapshot),
        }
    }
}

/// Finds the pods of the scope and the policies that select them.
pub(super) fn in_force<'a>(snapshot: &'a Snapshot, scope: Scope<'_>) -> InForce<'a> {
    let mut candidates = Candidates::new(snapshot);
    let mut subjects = Vec::new();
    for (name, pod) in &snapshot.pods {
        if !pod.is_subject() || !in_scope(pod, scope) {
            continue;
        }
        candidates.enter(&name.namespace);
        let [ingress, egress] = candidates.select(pod);
        subjects.push(Subject { name, pod, ingress, egress });
    }
    InForce { policies: candidates.forced, subjects }
}

/// Policies in the order in which they are asked, and those of them that select something.
struct Candidates<'a> {
    snapshot: &'a Snapshot,
    /// Every policy of the tiers, in order, and its index once it is in force.
    tiers: Vec<(&'a str, &'a ClusterNetworkPolicy, Option<PolicyIndex>)>,
    /// Those of `tiers` that can select pods of the namespace in question.
    here: Vec<usize>,
    namespace: Option<&'a str>,
    /// Network policies of that namespace.
    policies: Vec<(&'a ObjectName, &'a NetworkPolicy, Option<PolicyIndex>)>,
    forced: Vec<ForcedPolicy<'a>>,
}

impl<'a> Candidates<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let tiers = snapshot.cluster_policies.iter();
        let mut tiers: Vec<_> = tiers.map(|(name, policy)| (name.as_str(), policy, None)).collect();
        tiers.sort_by_key(|(name, policy, _)| (policy.tier, policy.priority, *name));
        let (here, policies, forced) = (Vec::new(), Vec::new(), Vec::new());
        Self { snapshot, tiers, here, namespace: None, policies, forced }
    }

    /// Turns to a namespace. Pods come ordered by it.
    fn enter(&mut self, namespace: &'a str) {
        if self.namespace == Some(namespace) {
            return;
        }
        self.namespace = Some(namespace);
        let policies = self.snapshot.policies_of(namespace);
        self.policies = policies.map(|(name, policy)| (name, policy, None)).collect();
        let labels = self.snapshot.namespace_labels(namespace);
        let here = |(_, policy, _): &(_, &ClusterNetworkPolicy, _)| {
            policy.subject.as_ref().is_none_or(|set| set.namespaces.matches(&labels))
        };
        let tiers = self.tiers.iter().enumerate();
        self.here = tiers.filter(|(_, one)| here(one)).map(|(index, _)| index).collect();
    }

    /// The policies that isolate a pod for ingress, and for egress.
    fn select(&mut self, pod: &Pod) -> [Vec<PolicyIndex>; 2] {
        let mut selected = [Vec::new(), Vec::new()];
        let namespaced = self.here.partition_point(|&at| self.tiers[at].1.tier == Tier::Admin);
        for &at in &self.here[..namespaced] {
            take_cluster(&mut self.tiers[at], &mut self.forced, pod, &mut selected);
        }
        for (name, policy, index) in &mut self.policies {
            if !policy.selects(&pod.labels) {
                continue;
            }
            let forced = &mut self.forced;
            let index = *index.get_or_insert_with(|| {
                let policy = Policy::Namespaced(policy);
                forced.push(ForcedPolicy { name: (*name).clone(), policy });
                forced.len() - 1
            });
            for (direction, selected) in DIRECTIONS.into_iter().zip(&mut selected) {
                selected.extend(policy.applies(direction).then_some(index));
            }
        }
        for &at in &self.here[namespaced..] {
            take_cluster(&mut self.tiers[at], &mut self.forced, pod, &mut selected);
        }
        selected
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// A policy of a tier without rules of a direction leaves that direction alone.
fn take_cluster<'a>(
    (name, policy, index): &mut (&'a str, &'a ClusterNetworkPolicy, Option<PolicyIndex>),
    forced: &mut Vec<ForcedPolicy<'a>>,
    pod: &Pod,
    selected: &mut [Vec<PolicyIndex>; 2],
) {
    let means = |set: &PodSet| set.pods.matches(&pod.labels);
    if !policy.subject.as_ref().is_none_or(means) {
        return;
    }
    for (direction, selected) in DIRECTIONS.into_iter().zip(selected) {
        if policy.rules(direction).is_empty() {
            continue;
        }
        selected.push(*index.get_or_insert_with(|| {
            let (name, policy) = (ObjectName::new("", *name), Policy::Cluster(policy));
            forced.push(ForcedPolicy { name, policy });
            forced.len() - 1
        }));
    }
}

fn in_scope(pod: &Pod, scope: Scope<'_>) -> bool {
    match scope {
        Scope::Node(node) => pod.node.as_deref() == Some(node),
        Scope::Cluster => true,
    }
}
