//! Addresses of pods from the container runtime, which has them before the API server does (S8).
//!
//! kubelet publishes `status.podIPs` only after a pod's containers have started. The runtime gives
//! the addresses earlier, in two ways:
//!
//! - The chained CNI plugin reports them before the first container starts. This is newer than any
//!   status, until a status confirms it; a different status after that is newer.
//! - libcni's result cache has them once all plugins have run. It may be stale, so it counts only
//!   for a pod without an address in its status.
//!
//! Example, for pod `shop/web`:
//!
//! ```text
//! status of a former sandbox        10.0.0.9    the pod has 10.0.0.9
//! the plugin reports                10.0.0.2    the pod has 10.0.0.2, and no other pod has it
//! the old status is sent once more  10.0.0.9    the pod has 10.0.0.2: not confirmed yet
//! status                            10.0.0.2    the pod has 10.0.0.2: confirmed
//! status                            10.0.0.3    the pod has 10.0.0.3: the hint is dropped
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
};

use crate::model::{ObjectName, Pod, Snapshot};

use super::Sandbox;

/// Hints of the runtime, for pods that the cluster may or may not have yet.
#[derive(Debug, Default)]
pub struct AddressHints {
    from_plugin: BTreeMap<ObjectName, PluginHint>,
    from_cache: BTreeMap<ObjectName, Sandbox>,
    /// The addresses in the status of each pod that has others because of a hint.
    statuses: BTreeMap<ObjectName, Vec<IpAddr>>,
}

/// What the plugin reported of a pod.
#[derive(Debug)]
struct PluginHint {
    sandbox: Sandbox,
    /// Whether a status had the same addresses; a different one from then on is newer.
    is_confirmed: bool,
}

impl AddressHints {
    /// Replaces the addresses of the pods of a new snapshot that there are hints for.
    pub fn complete_snapshot(&mut self, snapshot: &mut Snapshot) {
        self.statuses.clear();
        let names: BTreeSet<_> =
            self.from_plugin.keys().chain(self.from_cache.keys()).cloned().collect();
        for name in names {
            if let Some(pod) = snapshot.pods.get_mut(&name) {
                self.complete(&name, pod);
            }
        }
    }

    /// Replaces the addresses of a pod that has a new status; forgets the plugin's hint for a pod
    /// that is gone.
    pub fn complete_change(&mut self, name: &ObjectName, pod: Option<&mut Pod>) {
        self.statuses.remove(name);
        match pod {
            Some(pod) => {
                self.confirm(name, &pod.addresses);
                self.complete(name, pod);
            }
            None => drop(self.from_plugin.remove(name)),
        }
    }

    /// Replaces the addresses of a pod that has those of its status, or those of an earlier hint.
    pub fn complete(&mut self, name: &ObjectName, pod: &mut Pod) {
        if let Some(status) = self.statuses.remove(name) {
            pod.addresses = status;
        }
        let is_its = |sandbox: &&Sandbox| is_sandbox_of(sandbox, pod);
        let from_plugin = self.from_plugin.get(name).map(|hint| &hint.sandbox).filter(is_its);
        let from_cache =
            self.from_cache.get(name).filter(is_its).filter(|_| pod.addresses.is_empty());
        let addresses = match from_plugin.or(from_cache) {
            Some(sandbox) => sandbox.addresses.clone(),
            // The runtime gave these to another pod since this status was written.
            None => {
                pod.addresses.iter().copied().filter(|it| !self.is_of_other(name, *it)).collect()
            }
        };
        if addresses != pod.addresses {
            let status = mem::replace(&mut pod.addresses, addresses);
            self.statuses.insert(name.clone(), status);
        }
    }

    /// Stores what the plugin reported of a pod. Hints for the pods in `former`, which had its
    /// addresses before, are dropped.
    pub fn insert(&mut self, sandbox: Sandbox, former: &[ObjectName]) {
        for pod in former {
            self.from_plugin.remove(pod);
        }
        let hint = PluginHint { sandbox, is_confirmed: false };
        self.from_plugin.insert(hint.sandbox.pod.clone(), hint);
    }

    /// Drops what the plugin reported of a pod.
    pub fn remove(&mut self, pod: &ObjectName) -> Option<Sandbox> {
        self.from_plugin.remove(pod).map(|hint| hint.sandbox)
    }

    /// Replaces all that the result cache says; the pods that it mentions or mentioned.
    pub fn replace_cache(&mut self, sandboxes: Vec<Sandbox>) -> BTreeSet<ObjectName> {
        let sandboxes = sandboxes.into_iter().map(|sandbox| (sandbox.pod.clone(), sandbox));
        let former = mem::replace(&mut self.from_cache, sandboxes.collect());
        former.into_keys().chain(self.from_cache.keys().cloned()).collect()
    }

    /// Other pods with a hint for one of these addresses.
    #[must_use]
    pub fn hinted_with(&self, sandbox: &Sandbox) -> Vec<ObjectName> {
        let others = self.from_plugin.iter().filter(|(name, _)| **name != sandbox.pod);
        let shared = others.filter(|(_, hint)| share(&hint.sandbox.addresses, &sandbox.addresses));
        shared.map(|(name, _)| name.clone()).collect()
    }

    /// Pods with one of these addresses in their status that a hint took away or replaced.
    #[must_use]
    pub fn overridden_with(&self, addresses: &[IpAddr]) -> Vec<ObjectName> {
        let overridden = self.statuses.iter().filter(|(_, status)| share(status, addresses));
        overridden.map(|(name, _)| name.clone()).collect()
    }

    /// The pods of the node's interfaces that the runtime named. Of a pod that the plugin reported, the
    /// cache may have an earlier sandbox.
    #[must_use]
    pub fn named_interfaces(&self, snapshot: &Snapshot) -> BTreeMap<String, ObjectName> {
        let cached =
            self.from_cache.iter().filter(|(name, _)| !self.from_plugin.contains_key(*name));
        let reported = self.from_plugin.iter().map(|(name, hint)| (name, &hint.sandbox));
        let is_its = |(name, sandbox): &(&ObjectName, &Sandbox)| {
            snapshot.pods.get(*name).is_some_and(|pod| is_sandbox_of(sandbox, pod))
        };
        let named = cached.chain(reported).filter(is_its).flat_map(|(name, sandbox)| {
            sandbox.host_interfaces.iter().map(|interface| (interface.clone(), name.clone()))
        });
        named.collect()
    }

    /// Compares a new status with the plugin's hint.
    fn confirm(&mut self, name: &ObjectName, status: &[IpAddr]) {
        let Some(hint) = self.from_plugin.get_mut(name) else { return };
        let is_same = hint.sandbox.addresses.iter().all(|address| status.contains(address));
        if hint.is_confirmed && !is_same && !status.is_empty() {
            self.from_plugin.remove(name);
        } else {
            hint.is_confirmed |= is_same;
        }
    }

    fn is_of_other(&self, name: &ObjectName, address: IpAddr) -> bool {
        let mut hints = self.from_plugin.iter();
        hints.any(|(other, hint)| other != name && hint.sandbox.addresses.contains(&address))
    }
}

/// Whether a sandbox is that of this pod, and not of another pod that had its name.
pub(super) fn is_sandbox_of(sandbox: &Sandbox, pod: &Pod) -> bool {
    sandbox.may_have_uid(&pod.uid) && pod.is_subject()
}

/// Whether two lists have an address in common.
pub(super) fn share(one: &[IpAddr], other: &[IpAddr]) -> bool {
    one.iter().any(|address| other.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(uid: Option<&str>, last: u8) -> Sandbox {
        Sandbox {
            pod: ObjectName::new("shop", "web"),
            uid: uid.map(ToOwned::to_owned),
            addresses: of(last),
            host_interfaces: Vec::new(),
        }
    }

    fn of(last: u8) -> Vec<IpAddr> {
        vec![[10, 0, 0, last].into()]
    }

    fn hints(from_plugin: Option<Sandbox>, from_cache: Option<Sandbox>) -> AddressHints {
        let mut hints = AddressHints::default();
        if let Some(sandbox) = from_plugin {
            hints.insert(sandbox, &[]);
        }
        hints.replace_cache(from_cache.into_iter().collect());
        hints
    }

    #[test]
    fn s8_the_plugin_is_newest_and_a_hint_is_only_for_the_pod_with_its_uid() {
        let own = |last| Some(sandbox(Some("one"), last));
        let other = |last| Some(sandbox(Some("other"), last));
        let no_uid = |last| Some(sandbox(None, last));
        #[rustfmt::skip]
        let cases = [
            // claim                                     status    plugin     cache     want
            ("the plugin comes before the status",       vec![],   own(2),    None,     of(2)),
            ("the cache comes before the status",        vec![],   None,      own(3),   of(3)),
            ("the plugin reports a new sandbox",         of(1),    own(2),    own(3),   of(2)),
            ("the cache may be stale",                   of(1),    None,      own(3),   of(1)),
            ("another pod had this name",                vec![],   other(2),  other(3), vec![]),
            ("the plugin of another, the cache of this", vec![],   other(2),  own(3),   of(3)),
            ("a runtime that gives no UID",              vec![],   no_uid(2), None,     of(2)),
        ];
        for (claim, status, from_plugin, from_cache, want) in cases {
            let mut hints = hints(from_plugin, from_cache);
            let mut pod = Pod { uid: "one".to_owned(), addresses: status, ..Pod::default() };
            hints.complete(&ObjectName::new("shop", "web"), &mut pod);
            assert_eq!(pod.addresses, want, "{claim}");
            hints.statuses.clear();
            let mut host = Pod { host_network: true, addresses: of(9), ..pod };
            hints.complete(&ObjectName::new("shop", "web"), &mut host);
            assert_eq!(host.addresses, of(9), "{claim}: the node's own address stays");
        }
    }

    #[test]
    fn s8_a_status_that_differs_after_the_hint_was_confirmed_is_newer() {
        let mut hints = hints(Some(sandbox(Some("one"), 2)), None);
        let name = ObjectName::new("shop", "web");
        #[rustfmt::skip]
        let statuses = [
            // claim                                     status    want
            ("it is older than the hint",                of(9),    of(2)),
            ("it confirms the hint",                     of(2),    of(2)),
            ("it repeats it",                            of(2),    of(2)),
            ("it has no address: it is not newer",       vec![],   of(2)),
            ("it is newer",                              of(3),    of(3)),
            ("the hint is gone",                         of(2),    of(2)),
        ];
        for (claim, status, want) in statuses {
            let mut pod = Pod { uid: "one".to_owned(), addresses: status, ..Pod::default() };
            hints.complete_change(&name, Some(&mut pod));
            assert_eq!(pod.addresses, want, "{claim}");
        }
    }

    #[test]
    fn s8_an_address_that_the_runtime_gave_to_another_pod_is_taken_from_a_stale_status() {
        let mut hints = hints(Some(sandbox(Some("one"), 2)), None);
        let stale = ObjectName::new("shop", "stale");
        let status = [of(2), of(9)].concat();
        let mut pod = Pod { addresses: status.clone(), ..Pod::default() };
        hints.complete(&stale, &mut pod);
        assert_eq!(pod.addresses, of(9));
        assert_eq!(hints.overridden_with(&of(2)), std::slice::from_ref(&stale));
        hints.remove(&ObjectName::new("shop", "web"));
        hints.complete(&stale, &mut pod);
        assert_eq!(pod.addresses, status, "the hint is withdrawn");
        assert!(hints.overridden_with(&of(2)).is_empty());
    }

    #[test]
    fn a_hint_ends_with_its_sandbox() {
        let name = ObjectName::new("shop", "web");
        let completed = |hints: &mut AddressHints| {
            let mut pod = Pod::default();
            hints.complete(&name, &mut pod);
            pod.addresses
        };
        let mut deleted = hints(Some(sandbox(None, 2)), None);
        deleted.complete_change(&name, None);
        assert!(completed(&mut deleted).is_empty(), "the pod was deleted");

        let mut withdrawn = hints(Some(sandbox(None, 2)), None);
        assert_eq!(withdrawn.remove(&name), Some(sandbox(None, 2)));
        assert!(completed(&mut withdrawn).is_empty(), "the plugin gave up waiting");

        let mut taken = hints(Some(sandbox(None, 2)), None);
        let next = Sandbox { pod: ObjectName::new("shop", "next"), ..sandbox(None, 2) };
        let former = taken.hinted_with(&next);
        assert_eq!(former, std::slice::from_ref(&name));
        taken.insert(next, &former);
        assert!(completed(&mut taken).is_empty(), "another pod has its address");

        let mut cached = hints(None, Some(sandbox(None, 3)));
        let mentioned = cached.replace_cache(Vec::new());
        assert_eq!(mentioned, BTreeSet::from([name.clone()]));
        assert!(completed(&mut cached).is_empty(), "the runtime removed its file");
    }
}
