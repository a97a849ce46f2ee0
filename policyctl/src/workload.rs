//! Groups pods into workloads: pods that are copies of each other.
//!
//! Pods of one controller are one workload. Manifests often hold bare pods without a controller;
//! these are one workload where their labels are equal, apart from labels that a controller adds:
//!
//! ```text
//! web-7d9-x  controller Deployment web                       -> web
//! web-7d9-y  controller Deployment web                       -> web
//! db-0       labels app=db                                   -> db
//! db-1       labels app=db                                   -> db
//! db-test    labels app=db, test=yes: equal to no other pod  -> db-test, as db is taken
//! debug      no labels, no controller                        -> debug
//! ```

use std::collections::{BTreeMap, BTreeSet};

use policy_core::model::{Labels, ObjectName, Snapshot, Workload};

/// Labels that name an application, the most specific first.
const NAMES: [&str; 3] = ["app.kubernetes.io/name", "app", "k8s-app"];

/// What pods of one workload have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SharedBy<'a> {
    Controller(&'a Workload),
    Labels(Labels),
}

/// Namespace, what its pods have in common, and the pod's name where they have nothing in common.
type CopiesOf<'a> = (&'a str, SharedBy<'a>, Option<&'a str>);

impl SharedBy<'_> {
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

/// The workload of each pod, as `namespace/name`.
pub(crate) fn of_pods(snapshot: &Snapshot) -> BTreeMap<ObjectName, ObjectName> {
    let mut groups: BTreeMap<CopiesOf<'_>, Vec<&ObjectName>> = BTreeMap::new();
    for (name, pod) in &snapshot.pods {
        let shared = match &pod.workload {
            Some(workload) => SharedBy::Controller(workload),
            None => SharedBy::Labels(pod.lasting_labels()),
        };
        let alone = shared.is_nothing().then_some(name.name.as_str());
        groups.entry((&name.namespace, shared, alone)).or_default().push(name);
    }
    let mut taken = BTreeSet::new();
    let mut workloads = BTreeMap::new();
    for ((namespace, shared, _), pods) in groups {
        let first = pods.first().map(|pod| pod.name.as_str()).unwrap_or_default();
        let name = shared.name().unwrap_or(first);
        let workload = ObjectName::new(namespace, free(&taken, namespace, name, first));
        taken.insert(workload.clone());
        workloads.extend(pods.into_iter().map(|pod| (pod.clone(), workload.clone())));
    }
    workloads
}

/// Workloads by name, and the pods of each.
pub(crate) fn groups(snapshot: &Snapshot) -> (Vec<ObjectName>, Vec<Vec<ObjectName>>) {
    let mut groups: BTreeMap<ObjectName, Vec<ObjectName>> = BTreeMap::new();
    for (pod, workload) in of_pods(snapshot) {
        groups.entry(workload).or_default().push(pod);
    }
    groups.into_iter().unzip()
}

/// A name that no other workload of the namespace has.
///
/// Two workloads may have the same label: the second gets the name of its first pod, or a number.
fn free(taken: &BTreeSet<ObjectName>, namespace: &str, name: &str, first: &str) -> String {
    let is_free = |name: &String| !taken.contains(&ObjectName::new(namespace, name));
    let named = [name.to_owned(), first.to_owned()].into_iter();
    let mut numbered = named.chain((2_usize..).map(|number| format!("{name}-{number}")));
    numbered.find(is_free).unwrap_or_default()
}
