//! What a node's agent decides: pure, with time passed in.
//!
//! Input: the cluster as the source reports it, the container runtime's hints about addresses, and
//! what the agent found and could do in the kernel. Output: the state to enforce ([`Desired`]) and
//! the answers that depend on it. The agent's `node` module calls it in this order:
//!
//! 1. [`Intent::replace`] for the whole cluster, [`Intent::apply`] for each change of it;
//!    [`Intent::replace_cached_hints`] for all hints, [`Intent::add_hint`] and [`Intent::remove_hint`]
//!    for one; [`Intent::set_off_by_command`] for a command on the node.
//! 2. [`Intent::release_due`], then [`Intent::set_node_addresses`], [`Intent::match_departed`] and
//!    [`Intent::assign`] with what discovery found for [`Intent::addresses`].
//! 3. The flows of [`Intent::reassigned`] are deleted, then [`Intent::clear_reassigned`].
//!    [`Intent::desired`] is planned, [`Intent::sort_unmatched`] with the interfaces that the plan found
//!    no pod for, and the plan is written to the kernel.
//! 4. [`Intent::record_success`]. Where a map is full: [`Intent::roll_back`], step 3 once more,
//!    [`Intent::hold_back`]; or, where no policy grew, [`Intent::close_new_pods`]; then again from
//!    step 3.
//!
//! [`Intent::set_frontend_limit`] comes before all of them; [`Intent::release_all`] before a new list of
//! objects is compared with [`Intent::snapshot`]. The other functions answer questions.
//!
//! Times are durations since one fixed moment, for example the start of the process; they must never
//! go back.

mod annotations;
mod capacity;
mod departed;
mod frontend_limit;
mod hints;
mod interfaces;
mod options;
mod readiness;
mod sandbox;
mod switched_off;
mod unmatched;

use core::time::Duration;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_common::{endpoint::Endpoint, limits};

pub use capacity::{CapacityGuard, ClosedPod, HeldBack, RETRY_INTERVAL, RolledBack};
pub use frontend_limit::LeftOutServices;
pub use hints::AddressHints;
pub use options::IntentOptions;
pub use readiness::{Obstacle, Readiness};
pub use sandbox::Sandbox;
pub use switched_off::OffCause;
pub use unmatched::Unmatched;

use crate::{
    compile::{Change, Compiler, Scope},
    desired::Desired,
    fault::Fault,
    model::{Node, ObjectName, Pod, Snapshot},
    owner::Owners,
    plan::Interfaces,
};

use departed::DepartedPods;
use hints::share;
use interfaces::InterfaceOwners;

/// The state of all decisions of one node.
#[derive(Debug)]
pub struct Intent {
    node: String,
    options: IntentOptions,
    compiler: Compiler,
    /// The Node object of this node, as the source reported it.
    received_node: Option<Node>,
    owners: Owners,
    /// Addresses that now belong to another pod, while flows of the former one still exist.
    reassigned: BTreeSet<IpAddr>,
    hints: AddressHints,
    departed: DepartedPods,
    capacity: CapacityGuard,
    /// How many frontends the kernel's map holds.
    frontend_limit: usize,
    /// The time of the last [`release_due`](Self::release_due).
    now: Duration,
    /// Interfaces that are closed because their pods are gone.
    orphans: BTreeSet<u32>,
    interfaces: InterfaceOwners,
    /// Whether a command on the node has switched enforcement off.
    off_by_command: bool,
}

impl Intent {
    /// For the node of this name, with an empty cluster.
    #[must_use]
    pub fn new(node: &str, options: IntentOptions) -> Self {
        Self {
            node: node.to_owned(),
            options,
            compiler: Compiler::new(Snapshot::default(), Scope::Node(node)),
            received_node: None,
            owners: Owners::default(),
            reassigned: BTreeSet::new(),
            hints: AddressHints::default(),
            departed: DepartedPods::default(),
            capacity: CapacityGuard::default(),
            frontend_limit: limits::FRONTENDS,
            now: Duration::ZERO,
            orphans: BTreeSet::new(),
            interfaces: InterfaceOwners::default(),
            off_by_command: false,
        }
    }

    /// Replaces the whole cluster.
    pub fn replace(&mut self, mut snapshot: Snapshot) {
        annotations::cut_snapshot(&mut snapshot);
        self.hints.complete_snapshot(&mut snapshot);
        let before = self.compiler.snapshot().pods.iter();
        let gone = before.filter(|(name, old)| self.departs(name, old, snapshot.pods.get(name)));
        let gone: Vec<_> = gone.map(|(name, pod)| (name.clone(), pod.clone())).collect();
        for (name, pod) in gone {
            self.departed.record(&name, pod, self.now);
        }
        snapshot.pods.extend(self.departed.pods());
        for namespace in snapshot.namespaces.values_mut() {
            self.options.release(namespace);
        }
        self.reassigned.extend(self.owners.update(&snapshot));
        self.capacity.record_snapshot(self.compiler.snapshot(), &snapshot);
        self.received_node = snapshot.nodes.get(&self.node).cloned();
        self.compiler = Compiler::new(snapshot, Scope::Node(&self.node));
    }

    /// Applies a change of the cluster. A change of a policy ends the hold-back of its namespace.
    pub fn apply(&mut self, mut change: Change) {
        annotations::cut_change(&mut change);
        if let Change::Pod(name, pod) = &mut change {
            // A list of the API server does not have it, but it still runs.
            if self.departed.has(name) {
                return;
            }
            let old = self.compiler.snapshot().pods.get(name);
            if let Some(old) = old.filter(|old| self.departs(name, old, pod.as_ref())) {
                self.departed.record(name, old.clone(), self.now);
            }
            self.hints.complete_change(name, pod.as_mut());
        }
        if let Change::Namespace(_, Some(namespace)) = &mut change {
            self.options.release(namespace);
        }
        self.apply_completed(change);
    }

    /// Stores what the chained plugin reports of a pod. Other pods lose its addresses.
    pub fn add_hint(&mut self, sandbox: Sandbox) {
        let name = sandbox.pod.clone();
        let mut former = self.hints.hinted_with(&sandbox);
        let pods = self.desired_by_policies().endpoints.iter().filter(|(pod, _)| **pod != name);
        let sharing = pods.filter(|(_, pod)| share(&pod.addresses, &sandbox.addresses));
        former.extend(sharing.map(|(name, _)| name.clone()));
        self.hints.insert(sandbox, &former);
        for pod in former.iter().chain([&name]) {
            self.complete_known(pod);
        }
    }

    /// Drops what the plugin reported of a pod; pods that lost its addresses have them back. Whether
    /// that changes any pod.
    pub fn remove_hint(&mut self, pod: &ObjectName) -> bool {
        let Some(sandbox) = self.hints.remove(pod) else { return false };
        let mut is_changed = self.complete_known(pod);
        for pod in self.hints.overridden_with(&sandbox.addresses) {
            is_changed |= self.complete_known(&pod);
        }
        is_changed
    }

    /// Replaces all hints of the runtime's result cache.
    ///
    /// A pod may have several sandboxes, the newest last.
    pub fn replace_cached_hints(&mut self, sandboxes: Vec<Sandbox>) {
        self.departed.replace_sandboxes(sandboxes.clone());
        for name in self.hints.replace_cache(sandboxes) {
            self.complete_known(&name);
        }
    }

    /// Releases the namespaces that were held back for [`RETRY_INTERVAL`].
    pub fn release_due(&mut self, now: Duration) {
        self.now = now;
        self.capacity.release_due(now, &mut self.compiler);
    }

    /// Releases every namespace, so that [`snapshot`](Self::snapshot) has what was requested.
    pub fn release_all(&mut self) {
        self.capacity.release_all(&mut self.compiler);
    }

    /// Sets the addresses that the node's own interfaces have. kube-proxy translates a node port at
    /// each of them, whatever the Node object says.
    pub fn set_node_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        let node = Node {
            interfaces: addresses.into_iter().collect(),
            probe_sources: self.options.probe_sources.clone(),
            is_open_to_pods: self.options.own_node_egress,
            ..self.received_node.clone().unwrap_or_default()
        };
        self.compiler.update(Change::Node(self.node.clone(), Some(node)));
    }

    /// Addresses of this node's pods, by which discovery finds their interfaces.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let pods = self.desired_by_policies().endpoints.values();
        pods.flat_map(|pod| &pod.addresses).copied().chain(self.departed.addresses()).collect()
    }

    /// Finds the pods that left the API before they were enforced, and that an interface still leads
    /// to (S47).
    pub fn match_departed(&mut self, interfaces: &Interfaces, endpoints: &BTreeMap<u32, Endpoint>) {
        let cluster = (self.compiler.snapshot(), &self.owners);
        let changes = self.departed.update(&self.node, cluster, interfaces, endpoints, self.now);
        for change in changes {
            self.apply_completed(change);
        }
    }

    /// What the kernel should hold: the result of the policies in force, without Services that do not
    /// fit, with those new pods closed that a held-back policy would isolate, and those without a known
    /// object.
    #[must_use]
    pub fn desired(&self) -> Cow<'_, Desired> {
        let mut desired = Cow::Borrowed(self.desired_by_policies());
        let snapshot = self.compiler.snapshot();
        if let Some(fitting) = self.fitting_frontends() {
            desired = Cow::Owned(fitting.apply(&desired));
        }
        if let Some(closed) = self.capacity.close_newcomers(&desired, snapshot) {
            desired = Cow::Owned(closed);
        }
        if let Some(closed) = self.departed.close_unseen(&desired, snapshot) {
            desired = Cow::Owned(closed);
        }
        match self.off_cause() {
            Some(_) => Cow::Owned(switched_off::open(desired.into_owned())),
            None => desired,
        }
    }

    /// What the policies in force ask of this node; no pod is closed for a held-back one.
    #[must_use]
    pub fn desired_by_policies(&self) -> &Desired {
        self.compiler.compiled().0
    }

    /// What the compiler could not express.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.compiler.compiled().1
    }

    /// Sorts the interfaces that a plan found no pod for, and remembers the orphans among them.
    pub fn sort_unmatched(
        &mut self,
        interfaces_without_pod: &[u32],
        endpoints: &BTreeMap<u32, Endpoint>,
    ) -> Unmatched {
        let unmatched = Unmatched::sort(interfaces_without_pod, endpoints);
        self.orphans.clone_from(&unmatched.orphans);
        unmatched
    }

    /// Notes that the kernel holds [`desired`](Self::desired), but for the pods in `not_enforced`.
    pub fn record_success(&mut self, not_enforced: &BTreeSet<&ObjectName>) {
        self.capacity.record_success(self.compiler.compiled().0, not_enforced);
    }

    /// Returns to the policies that were last in force; see [`CapacityGuard::roll_back`].
    #[must_use]
    pub fn roll_back(&mut self) -> Option<RolledBack> {
        self.capacity.roll_back(&mut self.compiler)
    }

    /// Requests again what was rolled back, except for the namespace that grew most.
    pub fn hold_back(&mut self, rolled_back: RolledBack, reason: String, now: Duration) {
        self.capacity.hold_back(rolled_back, reason, now, &mut self.compiler);
    }

    /// Closes new pods, where no policy grew and yet a map is full; see
    /// [`CapacityGuard::close_new_pods`].
    pub fn close_new_pods(&mut self, reason: String, now: Duration) -> bool {
        self.capacity.close_new_pods(reason, now)
    }

    /// The new pods that are closed because what they need does not fit.
    #[must_use]
    pub fn closed_pods(&self) -> Vec<ClosedPod> {
        self.capacity.closed_pods(self.desired_by_policies())
    }

    /// The namespaces that are held back.
    #[must_use]
    pub fn held_back(&self) -> Vec<HeldBack> {
        self.capacity.held_back()
    }

    /// Addresses that now belong to another pod than before, since
    /// [`clear_reassigned`](Self::clear_reassigned): their flows must go.
    #[must_use]
    pub fn reassigned(&self) -> &BTreeSet<IpAddr> {
        &self.reassigned
    }

    /// Notes that the flows of the reassigned addresses are gone.
    pub fn clear_reassigned(&mut self) {
        self.reassigned.clear();
    }

    /// The endpoint of a pod with one of these addresses.
    #[must_use]
    pub fn endpoint_of<'a>(
        &'a self,
        addresses: &[IpAddr],
        endpoints: &'a BTreeMap<u32, Endpoint>,
    ) -> Option<&'a Endpoint> {
        self.live(endpoints).find(|it| addresses.iter().any(|address| it.has(*address)))
    }

    /// The cluster as it is in force: held-back policies in their last good version.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.compiler.snapshot()
    }

    /// The pods that the cluster's addresses belong to.
    #[must_use]
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Endpoints of pods that exist.
    fn live<'a>(
        &'a self,
        endpoints: &'a BTreeMap<u32, Endpoint>,
    ) -> impl Iterator<Item = &'a Endpoint> {
        endpoints.values().filter(|endpoint| !self.orphans.contains(&endpoint.ifindex))
    }

    /// Applies a change in which the hints are considered already.
    fn apply_completed(&mut self, change: Change) {
        match &change {
            Change::Pod(name, new) => {
                let old = self.compiler.snapshot().pods.get(name);
                self.reassigned.extend(self.owners.change(name, old, new.as_ref()));
            }
            Change::Node(name, node) if *name == self.node => {
                // It is compiled together with the addresses that discovery finds.
                self.received_node.clone_from(node);
                return;
            }
            Change::Policy(name, _) => {
                self.capacity.release(&name.namespace, &mut self.compiler);
                self.capacity.record(name, self.compiler.snapshot());
            }
            Change::Namespace(..)
            | Change::ClusterPolicy(..)
            | Change::Service(..)
            | Change::EndpointSlice(..)
            | Change::Node(..) => {}
        }
        self.compiler.update(change);
    }

    /// Whether a pod of this node leaves the API before it was enforced: nothing has its name now, or
    /// another pod has.
    fn departs(&self, name: &ObjectName, old: &Pod, new: Option<&Pod>) -> bool {
        let is_here = old.node.as_ref() == Some(&self.node) && old.is_subject();
        is_here
            && new.is_none_or(|new| new.uid != old.uid)
            && old.deleted.is_none()
            && !self.capacity.was_enforced(name, &old.uid)
    }

    /// Completes a pod with its hints once more; returns whether that changes the pod.
    fn complete_known(&mut self, name: &ObjectName) -> bool {
        let Some(pod) = self.compiler.snapshot().pods.get(name) else { return false };
        let mut completed = pod.clone();
        self.hints.complete(name, &mut completed);
        let is_changed = completed != *pod;
        if is_changed {
            self.apply_completed(Change::Pod(name.clone(), Some(completed)));
        }
        is_changed
    }
}

#[cfg(test)]
mod tests;
