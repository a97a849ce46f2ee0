//! Pods that are copies of one another.

use std::collections::{BTreeMap, BTreeSet};

use policy_core::model::{Labels, ObjectName, Snapshot, Workload};

/// Labels that name an application, the best first.
const NAMES: [&str; 3] = ["app.kubernetes.io/name", "app", "k8s-app"];

/// What pods of one workload have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Same<'a> {
    Controller(&'a Workload),
    Labels(Labels),
}

/// Namespace, what its pods have in common, and the pod where that is nothing.
type Group<'a> = (&'a str, Same<'a>, Option<&'a str>);

impl Same<'_> {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Labels(labels) if labels.is_empty())
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Controller(workload) => Some(&workload.name),
            Self::Labels(labels) => {
                let mut names = NAMES.iter().filter_map(|key| labels.get(*key)).map(String::as_str);
                names.find(|name| !name.is_empty())
            }
        }
    }
}

/// The workload of each pod.
///
/// Pods of one controller are one, and pods of a namespace without controllers whose lasting
/// labels are equal; a pod without either is one by itself.
pub(super) fn of_pods(snapshot: &Snapshot) -> BTreeMap<ObjectName, ObjectName> {
    let mut groups: BTreeMap<Group<'_>, Vec<&ObjectName>> = BTreeMap::new();
    for (name, pod) in &snapshot.pods {
        let same = match &pod.workload {
            Some(workload) => Same::Controller(workload),
            None => Same::Labels(pod.lasting_labels()),
        };
        let alone = same.is_nothing().then_some(name.name.as_str());
        groups.entry((&name.namespace, same, alone)).or_default().push(name);
    }
    let mut taken = BTreeSet::new();
    let mut workloads = BTreeMap::new();
    for ((namespace, same, _), pods) in groups {
        let first = pods.first().map(|pod| pod.name.as_str()).unwrap_or_default();
        let name = same.name().unwrap_or(first);
        let workload = ObjectName::new(namespace, free(&taken, namespace, name, first));
        taken.insert(workload.clone());
        workloads.extend(pods.into_iter().map(|pod| (pod.clone(), workload.clone())));
    }
    workloads
}

/// A name that no other workload of the namespace has.
///
/// Two may share the label: the second is called after its first pod, or else has a number.
fn free(taken: &BTreeSet<ObjectName>, namespace: &str, name: &str, first: &str) -> String {
    let is_free = |name: &String| !taken.contains(&ObjectName::new(namespace, name));
    let named = [name.to_owned(), first.to_owned()].into_iter();
    let mut numbered = named.chain((2_usize..).map(|number| format!("{name}-{number}")));
    numbered.find(is_free).unwrap_or_default()
}
