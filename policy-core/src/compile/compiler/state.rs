//! What the compiler keeps, and how a change goes through it.
//!
//! Stages, each of which hands on what it changed: policies in force and their peer lists;
//! meanings of addresses; what each distinct set of policies grants to each meaning; frontends,
//! judged by their backends; endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    compile::{
        Kept, Reused, Scope,
        allow::tables::{AllowTables, TableId},
        identities::addresses::Identities,
        peers::lists::{ListChanges, Lists},
        rules::{
            selection::Tiers,
            selection_index::{self, Selected, SelectionIndex},
        },
        services::frontends::Frontends,
    },
    desired::{Desired, DesiredEndpoint, Isolation, NodeKind},
    fault::Fault,
    model::{DIRECTIONS, Node, ObjectName, PerDirection, Pod, PolicyRef, Snapshot},
};

/// What a change touches before anything follows from it.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Pods of the scope whose policies may be others, there or not.
    pub(crate) subjects: BTreeSet<ObjectName>,
    /// Policies to be compiled anew; all that they select is among `subjects`.
    pub(crate) policies: BTreeSet<PolicyRef>,
    /// Services to enter anew.
    pub(crate) services: BTreeSet<ObjectName>,
    /// Whether policies of tiers, or their order, changed.
    pub(crate) tiers: bool,
    /// Whether addresses of nodes changed.
    pub(crate) nodes: bool,
}

/// Everything that follows from a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The node; `None` for the whole cluster.
    node: Option<String>,
    tiers: Tiers,
    force: SelectionIndex,
    subjects: BTreeMap<ObjectName, Subject>,
    lists: Lists,
    pub(crate) identities: Identities,
    tables: AllowTables,
    pub(crate) frontends: Frontends,
    /// Addresses that have node ports.
    nodes: BTreeSet<IpAddr>,
    /// Gateways of other nodes, those that are a pod's address included.
    gateways: BTreeSet<IpAddr>,
    /// What of each policy cannot be expressed: of those in force, for the cluster of all.
    faults_of: BTreeMap<PolicyRef, Vec<Fault>>,
    faults_changed: bool,
    pub(crate) desired: Desired,
    pub(crate) faults: Vec<Fault>,
}

/// A pod of the scope.
#[derive(Clone, Debug, Default)]
struct Subject {
    /// Policies that isolate it, for ingress and egress.
    policies: Selected,
    tables: [Option<TableId>; 2],
    addresses: Vec<IpAddr>,
}

impl State {
    /// Compiles a snapshot.
    pub(crate) fn new(snapshot: &Snapshot, scope: Scope<'_>) -> Self {
        let node = match scope {
            Scope::Node(node) => Some(node.to_owned()),
            Scope::Cluster => None,
        };
        let mut state = Self { node, ..Self::default() };
        let mut touched = Touched { tiers: true, nodes: true, ..Touched::default() };
        for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| pod.is_subject()) {
            state.identities.insert(&name.namespace, pod, snapshot);
            if state.is_local(pod) {
                touched.subjects.insert(name.clone());
            }
        }
        let of_tiers = snapshot.cluster_policies.keys().cloned().map(PolicyRef::ClusterWide);
        let of_namespaces = snapshot.policies.keys().cloned().map(PolicyRef::Namespaced);
        touched.policies = of_namespaces.chain(of_tiers).collect();
        state.settle(snapshot, &touched);
        state
    }

    /// Whether a pod is one of the scope.
    pub(crate) fn is_local(&self, pod: &Pod) -> bool {
        self.node.is_none() || pod.node == self.node
    }

    /// Names of the subjects of a namespace, or of all.
    pub(crate) fn subjects(&self, namespace: Option<&str>) -> impl Iterator<Item = &ObjectName> {
        let from = ObjectName::new(namespace.unwrap_or_default(), "");
        let all = self.subjects.range(from..).map(|(name, _)| name);
        all.take_while(move |name| namespace.is_none_or(|namespace| name.namespace == namespace))
    }

    /// Whether an address is guessed to be a node's, unless a pod has it.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateways.contains(&address)
    }

    /// Whether so much is no longer in use that starting anew is cheaper than keeping it.
    pub(crate) fn is_worn(&self) -> bool {
        let (waste, used) = self.identities.waste();
        waste > 10_000 + 4 * used
    }

    /// Compiles what was touched.
    pub(crate) fn settle(&mut self, snapshot: &Snapshot, touched: &Touched) -> Reused {
        if touched.tiers {
            self.tiers = Tiers::of(snapshot);
        }
        let mut lists = ListChanges::default();
        self.outdate(snapshot, touched);
        let again = self.select(snapshot, touched);
        let policies = self.enter_lists(&mut lists);
        let addresses = self.identities.follow(&lists, &self.lists, snapshot, &mut self.desired);
        let meanings = self.identities.numbers.changes();
        let mut tables = self.tables.follow(&meanings, &self.identities.numbers);
        self.identities.numbers.drop(&meanings.went);
        self.grant(snapshot, &again);
        tables.new = self.tables.take_new();
        if touched.nodes {
            self.enter_nodes(snapshot);
        }
        self.call(snapshot, touched, !again.is_empty());
        let (all, here) = (&mut self.frontends, &self.identities);
        let frontends = all.follow(&addresses, &mut self.tables, &tables, here, &mut self.desired);
        let contents = tables.entries.into_keys().chain(frontends.contents).collect();
        let endpoints = self.write(snapshot, &again, &contents, &frontends.own);
        if self.faults_changed || addresses.faults {
            self.tell_faults();
        }
        Reused {
            policies: Kept::of(policies, self.force.len()),
            addresses: Kept::of(addresses.judged, self.identities.len()),
            frontends: Kept::of(frontends.judged, self.frontends.len()),
            endpoints: Kept::of(endpoints, self.subjects.len()),
        }
    }

    /// Has policies compiled anew that changed.
    fn outdate(&mut self, snapshot: &Snapshot, touched: &Touched) {
        for name in &touched.policies {
            self.force.outdate(name);
            self.faults_changed |= self.faults_of.remove(name).is_some();
            if self.node.is_some() {
                continue;
            }
            // Whoever asks about the cluster hears of policies that select nothing, too.
            if let Some(policy) = snapshot.policy(name) {
                let (_, faults) = selection_index::compiled(policy, snapshot);
                self.faults_changed |= !faults.is_empty();
                self.faults_of.insert(name.clone(), faults);
            }
        }
    }

    /// Finds the policies of the subjects that were touched; gives all subjects whose policies, or
    /// what became of these, may be others.
    fn select(&mut self, snapshot: &Snapshot, touched: &Touched) -> BTreeSet<ObjectName> {
        let mut released = Vec::new();
        for name in &touched.subjects {
            let pod = snapshot.pods.get(name);
            let Some(pod) = pod.filter(|pod| pod.is_subject() && self.is_local(pod)) else {
                let gone = self.subjects.get_mut(name);
                released.extend(gone.map(|subject| std::mem::take(&mut subject.policies)));
                continue;
            };
            let mut policies = Selected::default();
            for selecting in self.tiers.selecting(snapshot, &name.namespace, pod) {
                for (at, policies) in policies.iter_mut().enumerate() {
                    if selecting.isolates[at] {
                        let force = &mut self.force;
                        policies.push(force.acquire(selecting.policy, snapshot));
                    }
                }
            }
            let subject = self.subjects.entry(name.clone()).or_default();
            subject.addresses = pod.usable_addresses().collect();
            released.push(std::mem::replace(&mut subject.policies, policies));
        }
        for id in released.into_iter().flatten().flatten() {
            self.force.release(id);
        }
        let mut again = touched.subjects.clone();
        if !again.is_empty() {
            self.merge(&mut again);
        }
        again
    }

    fn merge(&mut self, again: &mut BTreeSet<ObjectName>) {
        let selected: Vec<&Selected> = self.subjects.values().map(|one| &one.policies).collect();
        let replaced = self.force.merge(&selected);
        if replaced.is_empty() {
            return;
        }
        for (name, subject) in &mut self.subjects {
            for id in subject.policies.iter_mut().flatten() {
                if let Some(new) = replaced.get(id) {
                    *id = *new;
                    again.insert(name.clone());
                }
            }
        }
    }

    /// Takes over the lists of policies that came into force, and lets those of others go; tells
    /// how many came.
    fn enter_lists(&mut self, changes: &mut ListChanges) -> usize {
        let (came, went) = self.force.take_changes();
        let count = came.len();
        for id in &came {
            if let Some(forced) = self.force.get_mut(*id) {
                self.lists.acquire(std::sync::Arc::make_mut(&mut forced.policy), changes);
            }
        }
        for gone in went {
            self.lists.release(&gone.policy, changes);
            self.desired.policies.remove(&gone.name);
            if self.node.is_some() {
                let gone = self.faults_of.remove(&gone.name);
                self.faults_changed |= gone.is_some_and(|faults| !faults.is_empty());
            }
        }
        for forced in came.into_iter().filter_map(|id| self.force.get(id)) {
            self.desired.policies.insert(forced.name.clone(), forced.policy.clone());
            self.faults_changed |= !forced.faults.is_empty();
            self.faults_of.insert(forced.name.clone(), forced.faults.clone());
        }
        count
    }

    /// Takes over where the nodes are.
    fn enter_nodes(&mut self, snapshot: &Snapshot) {
        let own = self.node.as_deref();
        let others = snapshot.nodes.iter().filter(|(name, _)| Some(name.as_str()) != own);
        let of_others = others.clone().flat_map(|(_, node)| node.addresses.iter().copied());
        self.gateways = others.flat_map(|(_, node)| node.gateways()).collect();
        let free = self.gateways.iter().filter(|address| !self.identities.is_pods(**address));
        let of_others: BTreeSet<IpAddr> = of_others.chain(free.copied()).collect();
        let own = own.and_then(|own| snapshot.nodes.get(own));
        let own = own.into_iter().flat_map(Node::own_addresses);
        let own = own.map(|address| (address, NodeKind::Own));
        let all = of_others.into_iter().map(|address| (address, NodeKind::Other));
        let all: BTreeMap<_, _> = all.chain(own).collect();
        self.nodes = all.keys().copied().collect();
        if self.node.is_some() {
            self.desired.node_addresses = all;
        }
    }

    /// Gives subjects their tables.
    fn grant(&mut self, snapshot: &Snapshot, again: &BTreeSet<ObjectName>) {
        let mut released = Vec::new();
        for name in again {
            let Some(subject) = self.subjects.get_mut(name) else { continue };
            let mut tables = [None; 2];
            if let Some(pod) = snapshot.pods.get(name) {
                for ((table, policies), direction) in
                    tables.iter_mut().zip(&subject.policies).zip(DIRECTIONS)
                {
                    let known = (&self.lists, &self.identities.numbers);
                    let all = &mut self.tables;
                    *table = (!policies.is_empty())
                        .then(|| all.acquire(direction, policies, pod, &self.force, known));
                }
            }
            released.extend(std::mem::replace(&mut subject.tables, tables).into_iter().flatten());
        }
        for id in released {
            self.tables.release(id);
        }
    }

    /// Tells the frontends who asks for them, and what Services have.
    fn call(&mut self, snapshot: &Snapshot, touched: &Touched, subjects: bool) {
        let was_active = self.frontends.is_active();
        if subjects {
            let isolated = self.subjects.values().filter_map(|one| Some((one, one.tables[1]?)));
            let is_active = isolated.clone().next().is_some();
            let callers =
                isolated.flat_map(|(one, table)| one.addresses.iter().map(move |at| (*at, table)));
            self.frontends.call(callers.collect(), is_active);
        }
        let services: BTreeSet<ObjectName> = match (was_active, self.frontends.is_active()) {
            (false, false) => return,
            (false, true) => snapshot.services.keys().cloned().collect(),
            (true, false) => self.frontends.services().cloned().collect(),
            (true, true) => {
                let ported = snapshot.services.iter().filter(|(_, service)| {
                    touched.nodes && service.ports.iter().any(|port| port.node_port.is_some())
                });
                let ported = ported.map(|(name, _)| name.clone());
                ported.chain(touched.services.iter().cloned()).collect()
            }
        };
        for name in &services {
            self.frontends.enter(name, snapshot, &self.nodes);
        }
    }

    /// Writes the endpoints that may have changed; tells how many these were.
    fn write(
        &mut self,
        snapshot: &Snapshot,
        again: &BTreeSet<ObjectName>,
        contents: &BTreeSet<TableId>,
        own: &BTreeSet<IpAddr>,
    ) -> usize {
        if again.is_empty() && contents.is_empty() && own.is_empty() {
            return 0;
        }
        let mut made = 0;
        let mut gone = Vec::new();
        for (name, subject) in &self.subjects {
            let other = || subject.tables.iter().flatten().any(|table| contents.contains(table));
            let led_back = || subject.addresses.iter().any(|address| own.contains(address));
            if !again.contains(name) && !other() && !led_back() {
                continue;
            }
            made += 1;
            let pod = snapshot.pods.get(name);
            match pod.filter(|pod| pod.is_subject() && self.is_local(pod)) {
                Some(pod) => {
                    let endpoint = self.endpoint(pod, subject);
                    self.desired.endpoints.insert(name.clone(), endpoint);
                }
                None => gone.push(name.clone()),
            }
        }
        for name in gone {
            self.subjects.remove(&name);
            self.desired.endpoints.remove(&name);
        }
        made
    }

    fn endpoint(&self, pod: &Pod, subject: &Subject) -> DesiredEndpoint {
        let isolation = |at: usize| {
            let (table, content) = self.tables.with_content(subject.tables[at]?)?;
            let content = match at {
                0 => content.clone(),
                _ => self.frontends.content_of(content, table, &subject.addresses),
            };
            let policies = subject.policies[at].iter().filter_map(|id| self.force.get(*id));
            let policies = policies.map(|forced| forced.name.clone()).collect();
            Some(Isolation { allow_map: content, policies })
        };
        let isolation = PerDirection { ingress: isolation(0), egress: isolation(1) };
        let (uid, addresses) = (pod.uid.clone(), subject.addresses.clone());
        DesiredEndpoint { uid, addresses, isolation }
    }

    fn tell_faults(&mut self) {
        self.faults_changed = false;
        let of_policies = self.faults_of.values().flatten();
        self.faults = of_policies.chain(self.identities.faults()).cloned().collect();
        self.faults.sort();
        self.faults.dedup();
    }
}
