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
    told: BTreeMap<ObjectName, Told>,
    /// From the cache, which may be stale: counts only for pods whose status has no address.
    cached: BTreeMap<ObjectName, Sandbox>,
    /// What the statuses of pods say that were completed.
    statuses: BTreeMap<ObjectName, Vec<IpAddr>>,
}

/// What the plugin said of a pod.
#[derive(Debug)]
struct Told {
    sandbox: Sandbox,
    /// Whether a status has said the same: one that says something else from then on is newer.
    is_confirmed: bool,
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
                self.confirm(name, &pod.addresses);
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

    /// A status says these addresses: whether it has heard of what was told, and of more since.
    fn confirm(&mut self, name: &ObjectName, status: &[IpAddr]) {
        let Some(told) = self.told.get_mut(name) else { return };
        let is_same = told.sandbox.addresses.iter().all(|address| status.contains(address));
        if told.is_confirmed && !is_same && !status.is_empty() {
            self.told.remove(name);
        } else {
            told.is_confirmed |= is_same;
        }
    }

    /// Completes a pod that has what its status says, or what it was completed with before.
    fn complete(&mut self, name: &ObjectName, pod: &mut Pod) {
        if let Some(status) = self.statuses.remove(name) {
            pod.addresses = status;
        }
        let is_of = |sandbox: &&Sandbox| is_of(sandbox, pod);
        let told = self.told.get(name).map(|told| &told.sandbox).filter(is_of);
        let cached = self.cached.get(name).filter(is_of).filter(|_| pod.addresses.is_empty());
        let addresses = if let Some(sandbox) = told.or(cached) {
            sandbox.addresses.clone()
        } else {
            // What the runtime gave to another pod is this one's no longer, whatever its status says.
            let is_others = |address: &&IpAddr| self.is_told_of_another(name, **address);
            pod.addresses.iter().filter(|address| !is_others(address)).copied().collect()
        };
        if addresses != pod.addresses {
            let status = mem::replace(&mut pod.addresses, addresses);
            self.statuses.insert(name.clone(), status);
        }
    }

    fn is_told_of_another(&self, name: &ObjectName, address: IpAddr) -> bool {
        let mut told = self.told.iter();
        told.any(|(other, told)| other != name && told.sandbox.addresses.contains(&address))
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
        let name = sandbox.pod.clone();
        let former = self.others_with(&sandbox);
        for pod in &former {
            self.learned.told.remove(pod);
        }
        self.learned.told.insert(name.clone(), Told { sandbox, is_confirmed: false });
        for pod in former.iter().chain([&name]) {
            self.complete_known(pod);
        }
    }

    /// Pods of this node but this one that have an address of its.
    fn others_with(&self, sandbox: &Sandbox) -> Vec<ObjectName> {
        let told = self.learned.told.iter();
        let told = told.map(|(name, told)| (name, &told.sandbox.addresses));
        let pods = self.desired().endpoints.iter().map(|(name, pod)| (name, &pod.addresses));
        let others = told.chain(pods).filter(|(name, _)| **name != sandbox.pod);
        let shared =
            others.filter(|(_, has)| has.iter().any(|address| sandbox.addresses.contains(address)));
        shared.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets what the chained plugin said of a pod; nothing is enforced yet. Whether it changes
    /// anything.
    pub fn unlearn(&mut self, pod: &ObjectName) -> bool {
        let Some(Told { sandbox, .. }) = self.learned.told.remove(pod) else { return false };
        let mut changes = self.complete_known(pod);
        // Those that it was taken from have it again.
        let statuses = self.learned.statuses.iter();
        let struck = statuses
            .filter(|(_, status)| status.iter().any(|address| sandbox.addresses.contains(address)));
        let struck: Vec<ObjectName> = struck.map(|(name, _)| name.clone()).collect();
        for pod in &struck {
            changes |= self.complete_known(pod);
        }
        changes
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
        if !self.compiler.snapshot().namespaces.contains_key(&sandbox.pod.namespace) {
            return State::Waits("the API server has not told of the pod's namespace yet");
        }
        let indexes = sandbox.host_interfaces.iter();
        let indexes: BTreeSet<u32> =
            indexes.filter_map(|name| if_::if_nametoindex(name.as_str()).ok()).collect();
        let is_its = |endpoint: &Endpoint| {
            let here = indexes.is_empty() || indexes.contains(&endpoint.ifindex);
            let has = sandbox.addresses.iter().all(|address| endpoint.has(*address));
            let is_left = self.orphans.contains(&endpoint.ifindex);
            here && endpoint.flags & TRACKING == 0 && has && !is_left
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
            let named = |found: Sandbox| (found.pod.clone(), found);
            let told = told
                .map(named)
                .map(|(name, sandbox)| (name, Told { sandbox, is_confirmed: false }));
            let (told, cached) =
                (told.into_iter().collect(), cached.map(named).into_iter().collect());
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

    #[test]
    fn s8_a_status_that_changes_once_it_has_heard_of_the_sandbox_is_newer() {
        let mut learned = Learned::default();
        let name = ObjectName::new("shop", "web");
        let told = Told { sandbox: sandbox(Some("one"), [10, 0, 0, 2]), is_confirmed: false };
        learned.told.insert(name.clone(), told);
        // One status that is older, two that have heard, one of a sandbox that nobody told of.
        for (status, want) in [(9, 2), (2, 2), (2, 2), (3, 3), (2, 2)] {
            let addresses = vec![[10, 0, 0, status].into()];
            let pod = Pod { uid: "one".to_owned(), addresses, ..Pod::default() };
            let mut change = Change::Pod(name.clone(), Some(pod));
            learned.complete_change(&mut change);
            let Change::Pod(_, Some(pod)) = change else { unreachable!("it stays one of a pod") };
            assert_eq!(pod.addresses, [IpAddr::from([10, 0, 0, want])], "{status}");
        }
    }

    #[test]
    fn s8_what_the_runtime_gave_to_another_pod_is_nobody_elses() {
        let mut learned = Learned::default();
        let told = Told { sandbox: sandbox(Some("one"), [10, 0, 0, 2]), is_confirmed: false };
        learned.told.insert(ObjectName::new("shop", "web"), told);
        let stale = ObjectName::new("shop", "stale");
        let status: Vec<IpAddr> = vec![[10, 0, 0, 2].into(), [10, 0, 0, 9].into()];
        let mut pod = Pod { addresses: status.clone(), ..Pod::default() };
        learned.complete(&stale, &mut pod);
        assert_eq!(pod.addresses, status[1..]);
        learned.told.clear();
        learned.complete(&stale, &mut pod);
        assert_eq!(pod.addresses, status, "it was told in vain");
    }
}
