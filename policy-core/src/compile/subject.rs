//! Which policies select which pods (S1-S7).

use crate::model::{Direction, NetworkPolicy, ObjectName, Pod, Snapshot};

use super::Scope;

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
    pub(super) name: &'a ObjectName,
    pub(super) policy: &'a NetworkPolicy,
}

/// What is to be enforced for the scope.
pub(super) struct InForce<'a> {
    pub(super) policies: Vec<ForcedPolicy<'a>>,
    pub(super) subjects: Vec<Subject<'a>>,
}

/// Whether a policy isolates what it selects in this direction (S4).
pub(crate) fn applies(policy: &NetworkPolicy, direction: Direction) -> bool {
    match (&policy.policy_types, direction) {
        (Some(types), _) => types.contains(&direction),
        (None, Direction::Ingress) => true,
        (None, Direction::Egress) => !policy.egress.is_empty(),
    }
}

/// Finds the pods of the scope and the policies that select them.
pub(super) fn in_force<'a>(snapshot: &'a Snapshot, scope: Scope<'_>) -> InForce<'a> {
    let mut policies: Vec<ForcedPolicy<'a>> = Vec::new();
    let mut subjects = Vec::new();
    // Pods come by namespace, and so do the policies that can select them.
    let mut namespace = None;
    let mut candidates: Vec<(&ObjectName, &NetworkPolicy, Option<PolicyIndex>)> = Vec::new();
    for (name, pod) in &snapshot.pods {
        if !pod.is_subject() || !in_scope(pod, scope) {
            continue;
        }
        if namespace != Some(&name.namespace) {
            namespace = Some(&name.namespace);
            candidates = policies_of(snapshot, &name.namespace);
        }
        let mut subject = Subject { name, pod, ingress: Vec::new(), egress: Vec::new() };
        for (policy_name, policy, index) in &mut candidates {
            if policy.subject.as_ref().is_some_and(|subject| !subject.matches(&pod.labels)) {
                continue;
            }
            let index = *index.get_or_insert_with(|| {
                policies.push(ForcedPolicy { name: policy_name, policy });
                policies.len() - 1
            });
            if applies(policy, Direction::Ingress) {
                subject.ingress.push(index);
            }
            if applies(policy, Direction::Egress) {
                subject.egress.push(index);
            }
        }
        subjects.push(subject);
    }
    InForce { policies, subjects }
}

fn in_scope(pod: &Pod, scope: Scope<'_>) -> bool {
    match scope {
        Scope::Node(node) => pod.node.as_deref() == Some(node),
        Scope::Cluster => true,
    }
}

fn policies_of<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
) -> Vec<(&'a ObjectName, &'a NetworkPolicy, Option<PolicyIndex>)> {
    snapshot
        .policies
        .range(ObjectName::new(namespace, "")..)
        .take_while(|(name, _)| name.namespace == namespace)
        .map(|(name, policy)| (name, policy, None))
        .collect()
}
