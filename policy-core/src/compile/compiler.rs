//! A compiler that stays: what a change cannot touch is not compiled again.

pub(crate) mod state;

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    compile::{
        Scope,
        compiler::state::{State, Touched},
    },
    desired::Desired,
    fault::Fault,
    model::{
        ClusterNetworkPolicy, ClusterPeer, Direction, EndpointSlice, Labels, NetworkPolicy, Node,
        ObjectName, Pod, PolicyRef, Service, Snapshot,
    },
};

/// A change of one object; without a value it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Labels of a namespace.
    Namespace(String, Option<Labels>),
    /// A pod.
    Pod(ObjectName, Option<Pod>),
    /// A network policy.
    Policy(ObjectName, Option<NetworkPolicy>),
    /// A policy of the whole cluster.
    ClusterPolicy(String, Option<ClusterNetworkPolicy>),
    /// A Service.
    Service(ObjectName, Option<Service>),
    /// A slice of the endpoints of a Service.
    EndpointSlice(ObjectName, Option<EndpointSlice>),
    /// A node.
    Node(String, Option<Node>),
}

/// How much of a result was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reused {
    /// Policies in force.
    pub policies: Kept,
    /// Addresses of pods.
    pub addresses: Kept,
    /// Frontends of Services.
    pub frontends: Kept,
    /// Endpoints, with the contents that they have.
    pub endpoints: Kept,
}

/// How much of one kind was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Left as they were.
    pub kept: usize,
    /// Looked at again, whatever came of it; those that are gone are among them.
    pub made: usize,
}

impl Kept {
    /// Of `all` that are there now, `made` were made.
    pub(crate) fn of(made: usize, all: usize) -> Self {
        Self { kept: all.saturating_sub(made), made }
    }
}

impl Reused {
    /// Whether nothing at all was made again.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let Self { policies, addresses, frontends, endpoints } = self;
        [policies, addresses, frontends, endpoints].iter().all(|kept| kept.made == 0)
    }
}

/// A snapshot and what follows from it, kept up to date change by change.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The node; `None` for the whole cluster.
    node: Option<String>,
    snapshot: Snapshot,
    state: State,
}

impl Compiler {
    /// Compiles a snapshot for the first time.
    #[must_use]
    pub fn new(mut snapshot: Snapshot, scope: Scope<'_>) -> Self {
        let node = match scope {
            Scope::Node(node) => Some(node.to_owned()),
            Scope::Cluster => None,
        };
        let state = State::new(&snapshot, scope);
        for (name, pod) in &mut snapshot.pods {
            state.identities.groups.share(&name.namespace, pod);
        }
        Self { node, snapshot, state }
    }

    /// What the cluster is by now.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What follows from it, and what could not be expressed; as [`compile`](super::compile) gives
    /// it.
    #[must_use]
    pub fn compiled(&self) -> (&Desired, &[Fault]) {
        (&self.state.desired, &self.state.faults)
    }

    /// Takes a change over and compiles what it touches.
    pub fn update(&mut self, change: Change) -> Reused {
        let mut touched = Touched::default();
        match change {
            Change::Namespace(name, labels) => self.namespace(&name, labels, &mut touched),
            Change::Pod(name, pod) => self.pod(&name, pod, &mut touched),
            Change::Policy(name, policy) => self.policy(name, policy, &mut touched),
            Change::ClusterPolicy(name, policy) => {
                self.cluster_policy(name, policy, &mut touched);
            }
            Change::Service(name, service) => {
                if self.snapshot.services.get(&name) != service.as_ref() {
                    touched.services.insert(name.clone());
                }
                put(&mut self.snapshot.services, name, service);
            }
            Change::EndpointSlice(name, slice) => self.slice(&name, slice, &mut touched),
            Change::Node(name, node) => self.node(&name, node, &mut touched),
        }
        let reused = self.state.settle(&self.snapshot, &touched);
        if self.state.is_worn() {
            let scope = self.node.as_deref().map_or(Scope::Cluster, Scope::Node);
            self.state = State::new(&self.snapshot, scope);
        }
        reused
    }

    fn namespace(&mut self, name: &str, labels: Option<Labels>, touched: &mut Touched) {
        let before = self.snapshot.namespace_labels(name).into_owned();
        put(&mut self.snapshot.namespaces, name.to_owned(), labels);
        if before == *self.snapshot.namespace_labels(name) {
            return;
        }
        self.state.identities.groups.relabel(name, &self.snapshot);
        if !self.snapshot.cluster_policies.is_empty() {
            touched.subjects.extend(self.state.subjects(Some(name)).cloned());
        }
    }

    fn pod(&mut self, name: &ObjectName, mut pod: Option<Pod>, touched: &mut Touched) {
        if let Some(pod) = &mut pod {
            self.state.identities.groups.share(&name.namespace, pod);
        }
        let old = put(&mut self.snapshot.pods, name.clone(), pod);
        let new = self.snapshot.pods.get(name);
        let (old, new) = (known(old.as_ref()), known(new));
        let parts = |pod: &Pod| (pod.labels.clone(), pod.addresses.clone(), pod.ports.clone());
        let local = |pod: Option<&Pod>| pod.is_some_and(|pod| self.state.is_local(pod));
        let (was_here, is_here) = (local(old), local(new));
        let same = match (old, new) {
            (None, None) => return,
            (Some(old), Some(new)) => parts(old) == parts(new),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let uid = |pod: Option<&Pod>| pod.map(|pod| pod.uid.clone());
        if was_here != is_here || is_here && (!same || uid(old) != uid(new)) {
            touched.subjects.insert(name.clone());
        }
        if same {
            return;
        }
        let addresses =
            |pod: Option<&Pod>| pod.map(|pod| pod.addresses.clone()).unwrap_or_default();
        let (before, after) = (addresses(old), addresses(new));
        let is_gateway = |address: &IpAddr| self.state.is_gateway(*address);
        touched.nodes = before != after && before.iter().chain(&after).any(is_gateway);
        // First in, then out: an address that stays never belongs to nobody.
        let identities = &mut self.state.identities;
        if let Some(new) = new {
            identities.insert(&name.namespace, new, &self.snapshot);
        }
        if let Some(old) = old {
            identities.remove(&name.namespace, old);
        }
    }

    fn policy(&mut self, name: ObjectName, policy: Option<NetworkPolicy>, touched: &mut Touched) {
        let old = put(&mut self.snapshot.policies, name.clone(), policy);
        let new = self.snapshot.policies.get(&name);
        let same = match (&old, new) {
            (Some(old), Some(new)) => old.is_same_rule(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if same {
            return;
        }
        let pods = self.state.subjects(Some(&name.namespace));
        let selected = pods.filter(|pod| {
            let labels = self.snapshot.pods.get(*pod).map(|pod| &pod.labels);
            let selects = |policy: &NetworkPolicy| labels.is_none_or(|own| policy.selects(own));
            old.as_ref().is_some_and(selects) || new.is_some_and(selects)
        });
        touched.subjects.extend(selected.cloned());
        touched.policies.insert(name.into());
    }

    fn cluster_policy(
        &mut self,
        name: String,
        policy: Option<ClusterNetworkPolicy>,
        touched: &mut Touched,
    ) {
        let old = put(&mut self.snapshot.cluster_policies, name.clone(), policy);
        let same = match (&old, self.snapshot.cluster_policies.get(&name)) {
            (Some(old), Some(new)) => old.is_same_rule(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !same {
            touched.tiers = true;
            touched.policies.insert(PolicyRef::ClusterWide(name));
            touched.subjects.extend(self.state.subjects(None).cloned());
        }
    }

    fn slice(&mut self, name: &ObjectName, slice: Option<EndpointSlice>, touched: &mut Touched) {
        let old = put(&mut self.snapshot.endpoint_slices, name.clone(), slice);
        let new = self.snapshot.endpoint_slices.get(name);
        if old.as_ref() != new {
            let services = old.iter().chain(new).map(|slice| slice.service.as_str());
            let services = services.map(|service| ObjectName::new(&*name.namespace, service));
            touched.services.extend(services);
        }
    }

    fn node(&mut self, name: &str, node: Option<Node>, touched: &mut Touched) {
        let old = put(&mut self.snapshot.nodes, name.to_owned(), node).unwrap_or_default();
        let gone = Node::default();
        let new = self.snapshot.nodes.get(name).unwrap_or(&gone);
        let at =
            |node: &Node| (node.addresses.clone(), node.pod_cidrs.clone(), node.interfaces.clone());
        touched.nodes = at(&old) != at(new);
        if (&old.labels, &old.addresses) != (&new.labels, &new.addresses) {
            let policies = self.snapshot.cluster_policies.iter();
            let naming = policies.filter(|(_, policy)| names_nodes(policy));
            touched.policies.extend(naming.map(|(name, _)| PolicyRef::ClusterWide(name.clone())));
        }
        if !touched.policies.is_empty() {
            touched.subjects.extend(self.state.subjects(None).cloned());
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}

/// A pod that policy knows.
fn known(pod: Option<&Pod>) -> Option<&Pod> {
    pod.filter(|pod| pod.is_subject())
}

/// Whether a policy has peers that are nodes.
fn names_nodes(policy: &ClusterNetworkPolicy) -> bool {
    let rules = [Direction::Ingress, Direction::Egress].map(|direction| policy.rules(direction));
    let peers = rules.into_iter().flatten().flat_map(|rule| &rule.peers);
    peers.into_iter().any(|peer| matches!(peer, ClusterPeer::Nodes(_)))
}
