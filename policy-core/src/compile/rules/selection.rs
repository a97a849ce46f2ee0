//! Which policies select which pods (S1-S7, S51).

use crate::model::{AnyPolicy, ClusterPolicyName, PerDirection, Pod, PodSet, Snapshot, Tier};

/// A policy that selects a pod.
pub(crate) struct Selecting<'a> {
    pub(crate) policy: AnyPolicy<'a>,
    /// Whether it isolates the pod.
    pub(crate) isolates: PerDirection<bool>,
}

/// Names of the `ClusterNetworkPolicies` in the order in which they decide.
#[derive(Clone, Debug, Default)]
pub(crate) struct TierOrder(Vec<(Tier, u16, ClusterPolicyName)>);

impl TierOrder {
    /// Sorts them by tier, priority and name.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let all = snapshot.cluster_policies.iter();
        let mut all: Vec<_> =
            all.map(|(name, policy)| (policy.tier, policy.priority, name.clone())).collect();
        all.sort();
        Self(all)
    }

    /// The policies that select a pod, in order, without those that isolate it in no direction.
    pub(crate) fn selecting<'a>(
        &self,
        snapshot: &'a Snapshot,
        namespace: &'a str,
        pod: &Pod,
    ) -> Vec<Selecting<'a>> {
        let labels = snapshot.namespace_labels(namespace);
        let of_tier = |tier| {
            let all = self.0.iter().filter(move |one| one.0 == tier);
            let all = all.filter_map(|(.., name)| snapshot.cluster_policies.get_key_value(name));
            let here = all.filter(|(_, policy)| {
                let matches =
                    |set: &PodSet| set.namespaces.matches(&labels) && set.pods.matches(&pod.labels);
                // A subject that cannot be read may be any pod (S52).
                policy.subject.as_ref().is_none_or(matches)
            });
            here.map(|(name, policy)| Selecting {
                policy: AnyPolicy::ClusterWide(name, policy),
                isolates: PerDirection::from_fn(|direction| !policy.rules(direction).is_empty()),
            })
        };
        let namespaced = snapshot.policies_of(namespace);
        let namespaced = namespaced.filter(|(_, policy)| policy.selects(&pod.labels));
        let namespaced = namespaced.map(|(name, policy)| Selecting {
            policy: AnyPolicy::Namespaced(name, policy),
            isolates: PerDirection::from_fn(|direction| policy.applies(direction)),
        });
        // The order in which they decide (S51); of `NetworkPolicies` any order would do.
        let all = of_tier(Tier::Admin).chain(namespaced).chain(of_tier(Tier::Baseline));
        all.filter(|one| one.isolates.ingress || one.isolates.egress).collect()
    }
}
