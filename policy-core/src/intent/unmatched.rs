//! Interfaces that lead to no known pod, sorted by what happens to them.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::endpoint::Endpoint;

/// Interfaces without a pod, each in one of two groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// They still have the endpoint of a pod that the API has deleted.
    ///
    /// The pod's processes may outlive the object, so the planner closes such an endpoint instead of
    /// removing it. Nobody is reported as enforced there.
    pub orphans: BTreeSet<u32>,
    /// They never had an endpoint: `--unknown-endpoints` says what happens to their packets.
    pub unknown: BTreeSet<u32>,
}

impl Unmatched {
    /// Sorts the interfaces that a plan found no pod for, given the endpoints in the kernel.
    #[must_use]
    pub fn sort(interfaces_without_pod: &[u32], endpoints: &BTreeMap<u32, Endpoint>) -> Self {
        let (orphans, unknown) = interfaces_without_pod
            .iter()
            .copied()
            .partition(|ifindex| endpoints.contains_key(ifindex));
        Self { orphans, unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_without_a_pod_is_an_orphan_only_where_it_has_an_endpoint() {
        let endpoints = BTreeMap::from([1, 2].map(|ifindex| (ifindex, Endpoint::default())));
        #[rustfmt::skip]
        let cases = [
            // claim                                   without pod    orphans        unknown
            ("every interface has its pod",            vec![],        vec![],        vec![]),
            ("its pod is gone, its endpoint is not",   vec![2],       vec![2],       vec![]),
            ("it never had a pod",                     vec![3],       vec![],        vec![3]),
            ("both at once",                           vec![1, 3, 4], vec![1],       vec![3, 4]),
        ];
        for (claim, without_pod, orphans, unknown) in cases {
            let want = Unmatched {
                orphans: orphans.into_iter().collect(),
                unknown: unknown.into_iter().collect(),
            };
            assert_eq!(Unmatched::sort(&without_pod, &endpoints), want, "{claim}");
        }
    }
}
