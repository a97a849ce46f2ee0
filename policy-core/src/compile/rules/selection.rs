//! Which policies select which pods (S1-S7, S51).

use crate::model::{AnyPolicy, DIRECTIONS, Pod, PodSet, Snapshot, Tier};

/// A policy that selects a pod.
pub(crate) struct Selecting<'a> {
    pub(crate) policy: AnyPolicy<'a>,
    /// Whether it isolates the pod for ingress, and for egress.
    pub(crate) isolates: [bool; 2],
}

/// Names of the policies of the tiers in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tiers(Vec<(Tier, u16, String)>);

impl Tiers {
    /// Puts them in order.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let all = snapshot.cluster_policies.iter();
        let mut all: Vec<_> =
            all.map(|(name, policy)| (policy.tier, policy.priority, name.clone())).collect();
        all.sort();
        Self(all)
    }

    /// The policies that select a pod, in order. One that isolates it in no direction is none.
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
                let means =
                    |set: &PodSet| set.namespaces.matches(&labels) && set.pods.matches(&pod.labels);
                policy.subject.as_ref().is_none_or(means)
            });
            here.map(|(name, policy)| Selecting {
                policy: AnyPolicy::ClusterWide(name, policy),
                isolates: DIRECTIONS.map(|direction| !policy.rules(direction).is_empty()),
            })
        };
        let namespaced = snapshot.policies_of(namespace);
        let namespaced = namespaced.filter(|(_, policy)| policy.selects(&pod.labels));
        let namespaced = namespaced.map(|(name, policy)| Selecting {
            policy: AnyPolicy::Namespaced(name, policy),
            isolates: DIRECTIONS.map(|direction| policy.applies(direction)),
        });
        let all = of_tier(Tier::Admin).chain(namespaced).chain(of_tier(Tier::Baseline));
        all.filter(|one| one.isolates != [false; 2]).collect()
    }
}
