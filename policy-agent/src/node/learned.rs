//! Addresses of pods that the container runtime told before the API server did.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
};

use nix::net::if_;
use policy_common::endpoint::{Endpoint, TRACKING};
use policy_core::{
    compile::Change,
    model::{ObjectName, Pod, Snapshot},
};

use super::Node;
use crate::cni::{Sandbox, State};

/// What was learned of pods, whether or not the cluster knows them yet.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// By the chained plugin: newer than any status, for kubelet hears of an address later.
    told: BTreeMap<ObjectName, Sandbox>,
    /// From the cache, which may be stale: counts only for pods whose status has no address.
    cached: BTreeMap<ObjectName, Sandbox>,
    /// What the statuses of pods say that were completed.
    statuses: BTreeMap<ObjectName, Vec<IpAddr>>,
}

impl Learned {
    /// Completes every pod of a snapshot.
    pub(super) fn complete_all(&mut self, snapshot: &mut Snapshot) {
        self.statuses.clear();
        let names: BTreeSet<_> = self.told.keys().chain(self.cached.keys()).cloned().collect();
        for name in names {
            if let Some(pod) = snapshot.pods.get_mut(&name) {
                self.complete(&name, pod);
            }
        }
    }

    /// Completes a pod that comes or changes; what is known of one that goes is forgotten.
    pub(super) fn complete_change(&mut self, change: &mut Change) {
        match change {
            Change::Pod(name, Some(pod)) => {
                self.statuses.remove(name);
                self.complete(name, pod);
            }
            Change::Pod(name, None) => {
                self.statuses.remove(name);
                self.told.remove(name);
            }
            Change::Node(..)
            | Change::Namespace(..)
            | Change::Policy(..)
            | Change::ClusterPolicy(..)
            | Change::Service(..)
            | Change::EndpointSlice(..) => {}
        }
    }

    /// Completes a pod that has what its status says, or what it was completed with before.
    fn complete(&mut self, name: &ObjectName, pod: &mut Pod) {
        if let Some(status) = self.statuses.remove(name) {
            pod.addresses = status;
        }
        let is_of = |sandbox: &&Sandbox| is_of(sandbox, pod);
        let told = self.told.get(name).filter(is_of);
        let cached = self.cached.get(name).filter(is_of).filter(|_| pod.addresses.is_empty());
        if let Some(sandbox) = told.or(cached) {
            let status = mem::replace(&mut pod.addresses, sandbox.addresses.clone());
            self.statuses.insert(name.clone(), status);
        }
    }

    /// Pods but this one that were told to have an address of its: what the runtime gave again is
    /// theirs no longer.
    fn former(&self, sandbox: &Sandbox) -> Vec<ObjectName> {
        let others = self.told.iter().filter(|(name, _)| **name != sandbox.pod);
        let shared = others.filter(|(_, other)| {
            other.addresses.iter().any(|address| sandbox.addresses.contains(address))
        });
        shared.map(|(name, _)| name.clone()).collect()
    }
}

/// Whether a sandbox is this pod's, and not that of another one of its name.
fn is_of(sandbox: &Sandbox, pod: &Pod) -> bool {
    let same = sandbox.uid.as_ref().is_none_or(|uid| pod.uid.is_empty() || *uid == pod.uid);
    same && pod.is_subject()
}

impl Node {
    /// Takes over what the chained plugin says of a pod; nothing is enforced yet.
    pub fn learn(&mut self, sandbox: Sandbox) {
        for former in self.learned.former(&sandbox) {
            self.unlearn(&former);
        }
        let name = sandbox.pod.clone();
        self.learned.told.insert(name.clone(), sandbox);
        self.complete_known(&name);
    }

    /// Forgets what the chained plugin said of a pod; nothing is enforced yet. Whether it changes
    /// anything.
    pub fn unlearn(&mut self, pod: &ObjectName) -> bool {
        self.learned.told.remove(pod);
        self.complete_known(pod)
    }

    /// Takes over all that the runtime's cache says; nothing is enforced yet.
    pub fn learn_cached(&mut self, sandboxes: Vec<Sandbox>) {
        let sandboxes = sandboxes.into_iter().map(|sandbox| (sandbox.pod.clone(), sandbox));
        let former = mem::replace(&mut self.learned.cached, sandboxes.collect());
        let names: BTreeSet<_> = former.keys().chain(self.learned.cached.keys()).cloned().collect();
        for name in &names {
            self.complete_known(name);
        }
    }

    /// Whether what was last enforced covers a pod.
    #[must_use]
    pub fn state_of(&self, sandbox: &Sandbox) -> State {
        let Some(pod) = self.compiler.snapshot().pods.get(&sandbox.pod) else {
            return State::Waits("the API server has not told of the pod yet");
        };
        if !is_of(sandbox, pod) {
            return State::Waits("the API server tells of another pod of this name");
        }
        if pod.node.as_ref() != Some(&self.name) {
            return State::Waits("the API server tells of the pod on another node");
        }
        let indexes = sandbox.host_interfaces.iter();
        let indexes: BTreeSet<u32> =
            indexes.filter_map(|name| if_::if_nametoindex(name.as_str()).ok()).collect();
        let is_its = |endpoint: &Endpoint| {
            let here = indexes.is_empty() || indexes.contains(&endpoint.ifindex);
            let has = sandbox.addresses.iter().all(|address| endpoint.has(*address));
            here && endpoint.flags & TRACKING == 0 && has
        };
        if self.actual.endpoints().values().any(is_its) {
            State::Enforced
        } else {
            State::Waits("no interface of the node leads to the pod")
        }
    }

    /// Whether that changed the pod.
    fn complete_known(&mut self, name: &ObjectName) -> bool {
        let Some(pod) = self.compiler.snapshot().pods.get(name) else { return false };
        let mut completed = pod.clone();
        self.learned.complete(name, &mut completed);
        let is_other = completed != *pod;
        if is_other {
            self.update(Change::Pod(name.clone(), Some(completed)));
        }
        is_other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(uid: Option<&str>, address: [u8; 4]) -> Sandbox {
        Sandbox {
            pod: ObjectName::new("shop", "web"),
            uid: uid.map(ToOwned::to_owned),
            addresses: vec![address.into()],
            host_interfaces: Vec::new(),
        }
    }

    #[test]
    fn s8_an_address_is_that_of_the_pod_with_the_uid_and_the_plugin_knows_it_best() {
        let of = |last: u8| -> Vec<IpAddr> { vec![[10, 0, 0, last].into()] };
        let own = |last| sandbox(Some("one"), [10, 0, 0, last]);
        let other = |last| sandbox(Some("other"), [10, 0, 0, last]);
        #[rustfmt::skip]
        let cases = [
            // claim                                     status  plugin                               cache           want
            ("the plugin comes before the status",       None,    Some(own(2)),                        None,           of(2)),
            ("the cache comes before the status",        None,    None,                                Some(own(3)),   of(3)),
            ("the plugin knows a new sandbox",           Some(1), Some(own(2)),                        Some(own(3)),   of(2)),
            ("the cache may be stale",                   Some(1), None,                                Some(own(3)),   of(1)),
            ("another pod had this name",                None,    Some(other(2)),                      Some(other(3)), vec![]),
            ("the plugin of another, the cache of this", None,    Some(other(2)),                      Some(own(3)),   of(3)),
            ("a runtime that tells no UID",              None,    Some(sandbox(None, [10, 0, 0, 2])),  None,           of(2)),
        ];
        for (claim, status, told, cached, want) in cases {
            let by_name = |found: Option<Sandbox>| {
                found.into_iter().map(|found| (found.pod.clone(), found)).collect()
            };
            let (told, cached) = (by_name(told), by_name(cached));
            let mut learned = Learned { told, cached, ..Learned::default() };
            let addresses = status.map(of).unwrap_or_default();
            let mut pod = Pod { uid: "one".to_owned(), addresses, ..Pod::default() };
            learned.complete(&ObjectName::new("shop", "web"), &mut pod);
            assert_eq!(pod.addresses, want, "{claim}");
            learned.statuses.clear();
            let mut host = Pod { host_network: true, addresses: of(9), ..pod };
            learned.complete(&ObjectName::new("shop", "web"), &mut host);
            assert_eq!(host.addresses, of(9), "{claim}: the node's own address stays");
        }
    }
}
