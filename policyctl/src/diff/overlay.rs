//! The cluster as it would be after `kubectl apply` of some manifests.

use policy_core::model::Snapshot;
use policy_manifest::{LeftOut, Manifests};

/// The cluster with the namespaces and policies of `change` applied, and notes about what was left
/// out.
///
/// Pods and Services are not applied: the cluster assigns their addresses and backends.
pub(super) fn apply(cluster: &Manifests, change: Manifests) -> (Manifests, Vec<String>) {
    let mut after = cluster.clone();
    let from = change.snapshot;
    after.ignored.extend(change.ignored);
    carry(&mut after.left_out, change.left_out, &cluster.snapshot);
    for (name, namespace) in from.namespaces {
        after.snapshot.namespaces.entry(name).or_default().labels.extend(namespace.labels);
    }
    after.snapshot.policies.extend(from.policies);
    after.snapshot.cluster_policies.extend(from.cluster_policies);
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

/// Adds what was left out of the change. A namespace that the cluster has needs no manifest.
fn carry(to: &mut LeftOut, from: LeftOut, cluster: &Snapshot) {
    to.foreign_policies.extend(from.foreign_policies);
    to.templates.extend(from.templates);
    to.other_files.extend(from.other_files);
    to.broken_files.extend(from.broken_files);
    let undefined = from.undefined_namespaces.into_iter();
    let undefined = undefined.filter(|name| !cluster.namespaces.contains_key(name));
    to.undefined_namespaces.extend(undefined);
}
