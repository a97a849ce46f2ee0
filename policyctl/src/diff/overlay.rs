//! The cluster as it would be after `kubectl apply` of some manifests.

use policy_manifest::Manifests;

/// The cluster with the namespaces and policies of `change` applied, and notes about what was left
/// out.
///
/// Pods and Services are not applied: the cluster assigns their addresses and backends.
pub(super) fn apply(cluster: &Manifests, change: Manifests) -> (Manifests, Vec<String>) {
    let mut after = cluster.clone();
    let (to, from) = (&mut after.snapshot, change.snapshot);
    for (name, namespace) in from.namespaces {
        to.namespaces.entry(name).or_default().labels.extend(namespace.labels);
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
        format!("{kind} of the manifests are ignored: those of the cluster are used")
    };
    (after, left_out.map(note).collect())
}
