//! A cluster as it would be with some manifests applied.

use policy_manifest::Manifests;

/// Applies namespaces and policies, as `kubectl apply` would; and what was left out, as notes.
///
/// Pods and Services are not: their addresses and backends are the cluster's to give.
pub(super) fn apply(cluster: &Manifests, change: Manifests) -> (Manifests, Vec<String>) {
    let mut after = cluster.clone();
    let (to, from) = (&mut after.snapshot, change.snapshot);
    for (name, labels) in from.namespaces {
        to.namespaces.entry(name).or_default().extend(labels);
    }
    to.policies.extend(from.policies);
    to.cluster_policies.extend(from.cluster_policies);
    let left_out = [
        ("Pods", from.pods.len()),
        ("Services", from.services.len()),
        ("Nodes", from.nodes.len()),
        ("Hosts", change.hosts.len()),
    ];
    let left_out = left_out.into_iter().filter(|(_, count)| *count > 0);
    let note = |(kind, _): (&str, usize)| {
        format!("{kind} of the manifests are left out: the cluster's count")
    };
    (after, left_out.map(note).collect())
}
