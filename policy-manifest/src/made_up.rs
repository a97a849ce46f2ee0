//! Pods of workload templates, and addresses for pods and Services that have none.
//!
//! Policies judge addresses, and the files of a repository have none: a controller creates the pods,
//! and the network gives them addresses. Both are made up here, so that selectors, named ports and
//! Services are judged as in a cluster:
//!
//! ```text
//! Deployment shop/web, replicas 3     pods shop/web and shop/web-2 with the template's labels
//! Pod shop/db without a status        the pod itself
//! each of them                        an address of either family, as 240.0.0.1 and 100::1
//! ```
//!
//! Two pods stand for any number of replicas: one more would have the same verdicts. A real pod's
//! address may be in an `ipBlock`, and which block is not known. Of a few reserved ranges the one is
//! taken that the fewest blocks of the policies hold, so that a rule for a network outside of the
//! cluster does not match a pod by accident:
//!
//! ```text
//! ipBlock 0.0.0.0/0 except 10.0.0.0/8      240.0.0.0/12 is in the block, 10.240.0.0/12 is not
//! ```

mod range;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use policy_core::model::{Labels, ObjectName, Phase, Service, Snapshot, Workload};

use crate::{Host, Manifests, object::Template};
use range::Range;

/// What of a snapshot is made up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeUp {
    /// Pods with made-up addresses.
    pub pods: BTreeSet<ObjectName>,
    /// Second pods of a workload, and the first pod of the same workload.
    pub copies: BTreeMap<ObjectName, ObjectName>,
}

impl MadeUp {
    /// A note that some addresses are made up.
    pub(crate) fn note(&self) -> Option<String> {
        let count = self.pods.len() - self.copies.len();
        (count > 0).then(|| {
            let pods = if count == 1 {
                "1 pod or workload".into()
            } else {
                format!("{count} pods and workloads")
            };
            format!(
                "{pods} without an address: an ipBlock matches them only if it is for every address"
            )
        })
    }
}

/// Addresses that nothing in some manifests has, and as few blocks of policies as possible.
pub struct SpareAddresses(Vec<Range>);

impl SpareAddresses {
    /// Chooses a range of each family.
    #[must_use]
    pub fn new(manifests: &Manifests) -> Self {
        Self(range::choose(&manifests.snapshot, &manifests.hosts))
    }

    /// The next address of each family that has one left.
    pub fn next_of_each_family(&mut self) -> Vec<IpAddr> {
        self.0.iter_mut().filter_map(Range::next).collect()
    }
}

/// Adds pods for the templates that have none in the snapshot, and addresses for pods without any.
pub(crate) fn fill_in(
    snapshot: &mut Snapshot,
    templates: Vec<Template>,
    hosts: &BTreeMap<String, Host>,
) -> MadeUp {
    let mut made_up = MadeUp::default();
    add_pods(snapshot, templates, &mut made_up);
    let mut spare = SpareAddresses(range::choose(snapshot, hosts));
    for (name, pod) in &mut snapshot.pods {
        // A pod that an API server has stored gets its address later, and is reported.
        let is_stored = !pod.uid.is_empty();
        let is_ready = !is_stored && !pod.host_network && pod.phase == Phase::Live;
        if is_ready && pod.addresses.is_empty() {
            pod.addresses = spare.next_of_each_family();
            made_up.pods.insert(name.clone());
        }
    }
    for Service { cluster_ips, ports, .. } in snapshot.services.values_mut() {
        if cluster_ips.is_empty() && !ports.is_empty() {
            *cluster_ips = spare.next_of_each_family();
        }
    }
    made_up
}

/// Adds one pod for each template, and a second one where a workload runs several.
fn add_pods(snapshot: &mut Snapshot, templates: Vec<Template>, made_up: &mut MadeUp) {
    let stored_pods = snapshot.pods.values().any(|pod| !pod.uid.is_empty());
    let owned: BTreeSet<(String, Arc<Workload>)> = snapshot
        .pods
        .iter()
        .filter_map(|(name, pod)| Some((name.namespace.clone(), pod.workload.clone()?)))
        .collect();
    for template in templates {
        let Template { kind, name, mut pod, has_copies, is_stored, is_controlled } = template;
        let workload = Arc::new(Workload::of_controller(kind, &name.name, &Labels::default()));
        let exists = owned.contains(&(name.namespace.clone(), Arc::clone(&workload)));
        // A dump with pods has those of every workload that runs any.
        if is_controlled || exists || (is_stored && stored_pods) {
            continue;
        }
        pod.workload = Some(workload);
        let first = free_name(snapshot, &name, &kind.to_lowercase());
        if has_copies {
            let second = free_name(
                snapshot,
                &ObjectName::new(&name.namespace, format!("{}-2", first.name)),
                "copy",
            );
            snapshot.pods.insert(second.clone(), pod.clone());
            made_up.copies.insert(second, first.clone());
        }
        snapshot.pods.insert(first, pod);
    }
}

/// The name itself, or the name with something behind it that no other pod has.
fn free_name(snapshot: &Snapshot, wanted: &ObjectName, suffix: &str) -> ObjectName {
    let mut name = wanted.clone();
    while snapshot.pods.contains_key(&name) {
        name.name = format!("{}-{suffix}", name.name);
    }
    name
}
