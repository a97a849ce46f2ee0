//! Labels that select the pods of one workload, and stay the same from rollout to rollout.
//!
//! ```text
//! web-1  app=web, tier=front, pod-template-hash=7d9   the hash is of one rollout
//! web-2  app=web, tier=front, pod-template-hash=a01
//! api-1  app=web, tier=back                           app=web is not enough: app=web, tier=front
//! ```

use std::collections::BTreeMap;

use policy_core::model::{Labels, ObjectName, Snapshot};

/// Labels that people give to name an application; the first that suffices is taken alone.
const PREFERRED: [&str; 5] =
    ["app.kubernetes.io/name", "app", "k8s-app", "app.kubernetes.io/instance", "name"];

/// The fewest labels that select the pods of a workload in its namespace; `None` where its pods have
/// no stable label in common.
///
/// Where no label distinguishes the workload from others, all labels are taken, and those others are
/// selected too.
pub(super) fn of_workload(
    snapshot: &Snapshot,
    workloads: &BTreeMap<ObjectName, ObjectName>,
    workload: &ObjectName,
) -> Option<Labels> {
    let of = |pod: &ObjectName| workloads.get(pod) == Some(workload);
    let own = snapshot.pods.iter().filter(|(name, _)| of(name));
    let mut own = own.map(|(_, pod)| pod.lasting_labels());
    let mut common = own.next()?;
    for labels in own {
        common.retain(|key, value| labels.get(key) == Some(value));
    }
    if common.is_empty() {
        return None;
    }
    let others = || {
        let pods = snapshot.pods.iter().filter(|(name, pod)| {
            name.namespace == workload.namespace && !of(name) && pod.is_subject()
        });
        pods.map(|(_, pod)| &pod.labels)
    };
    let selects_others = |labels: &Labels| {
        others().any(|other| labels.iter().all(|(key, value)| other.get(key) == Some(value)))
    };
    let preferred = PREFERRED.iter().filter_map(|key| common.get_key_value(*key));
    let rest = common.iter().filter(|(key, _)| !PREFERRED.contains(&key.as_str()));
    let ordered: Vec<(String, String)> =
        preferred.chain(rest).map(|(key, value)| (key.clone(), value.clone())).collect();
    let singles = ordered.iter().map(|label| Labels::from([label.clone()]));
    if let Some(one) = singles.into_iter().find(|labels| !selects_others(labels)) {
        return Some(one);
    }
    // Labels are added in this order until no other workload has them all.
    let mut labels = Labels::new();
    for (key, value) in ordered {
        labels.insert(key, value);
        if !selects_others(&labels) {
            break;
        }
    }
    Some(labels)
}
