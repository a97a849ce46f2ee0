//! Pods that are copies of one another.

use std::collections::{BTreeMap, BTreeSet};

use policy_core::model::{Labels, ObjectName, Snapshot};

/// Labels that name an application, the best first.
const NAMES: [&str; 3] = ["app.kubernetes.io/name", "app", "k8s-app"];

/// The workload of each pod.
///
/// Pods of a namespace whose lasting labels are equal are one; a pod without any is one by itself.
pub(super) fn of_pods(snapshot: &Snapshot) -> BTreeMap<ObjectName, ObjectName> {
    let mut groups: BTreeMap<(&str, Labels, Option<&str>), Vec<&ObjectName>> = BTreeMap::new();
    for (name, pod) in &snapshot.pods {
        let labels = pod.lasting_labels();
        let alone = labels.is_empty().then_some(name.name.as_str());
        groups.entry((&name.namespace, labels, alone)).or_default().push(name);
    }
    let mut taken = BTreeSet::new();
    let mut workloads = BTreeMap::new();
    for ((namespace, labels, _), pods) in groups {
        let wanted = NAMES.iter().find_map(|key| labels.get(*key));
        let first = pods.first().map(|pod| pod.name.as_str()).unwrap_or_default();
        let name = wanted.map_or(first, String::as_str);
        // Two workloads may share the label; the second is called after its first pod.
        let mut workload = ObjectName::new(namespace, name);
        if !taken.insert(workload.clone()) {
            workload = ObjectName::new(namespace, first);
            taken.insert(workload.clone());
        }
        workloads.extend(pods.into_iter().map(|pod| (pod.clone(), workload.clone())));
    }
    workloads
}
