//! A compiler that stays: what a change cannot touch is not compiled again.

use std::collections::BTreeSet;

use crate::{
    desired::Desired,
    fault::Fault,
    model::{
        ClusterNetworkPolicy, Direction, EndpointSlice, Labels, NetworkPolicy, ObjectName, Pod,
        Selector, Service, Snapshot,
    },
};

use super::{
    Scope, compile,
    meaning::{Namespaces, PeerKey, PeerList},
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
}

/// What an update took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reused {
    /// The change touches nothing that is enforced; all of the result was kept.
    Everything,
    /// All of it was compiled again.
    Nothing,
}

/// A snapshot and what follows from it, kept up to date change by change.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The node; `None` for the whole cluster.
    node: Option<String>,
    snapshot: Snapshot,
    desired: Desired,
    faults: Vec<Fault>,
    /// Selectors of pods in the rules in force.
    selectors: BTreeSet<(Namespaces, Selector)>,
}

impl Compiler {
    /// Compiles a snapshot for the first time.
    #[must_use]
    pub fn new(snapshot: Snapshot, scope: Scope<'_>) -> Self {
        let node = match scope {
            Scope::Node(node) => Some(node.to_owned()),
            Scope::Cluster => None,
        };
        let (desired, faults, selectors) = (Desired::default(), Vec::new(), BTreeSet::new());
        let mut compiler = Self { node, snapshot, desired, faults, selectors };
        compiler.compile();
        compiler
    }

    /// What the cluster is by now.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What follows from it, and what could not be expressed; as [`compile`] gives it.
    #[must_use]
    pub fn compiled(&self) -> (&Desired, &[Fault]) {
        (&self.desired, &self.faults)
    }

    /// Takes a change over and compiles what it touches.
    pub fn update(&mut self, change: Change) -> Reused {
        let untouched = match &change {
            Change::Namespace(name, labels) => {
                self.snapshot.namespaces.get(name) == labels.as_ref()
            }
            Change::Pod(name, pod) => self.is_idle_pod(name, pod.as_ref()),
            Change::Policy(name, policy) => self.is_idle_policy(name, policy.as_ref()),
            Change::ClusterPolicy(name, policy) => {
                match (self.snapshot.cluster_policies.get(name), policy) {
                    (None, None) => true,
                    (Some(old), Some(new)) => old.is_same_rule(new),
                    (None, Some(_)) | (Some(_), None) => false,
                }
            }
            Change::Service(name, service) => {
                !self.judges_services() || self.snapshot.services.get(name) == service.as_ref()
            }
            Change::EndpointSlice(name, slice) => {
                !self.judges_services() || self.snapshot.endpoint_slices.get(name) == slice.as_ref()
            }
        };
        self.take(change);
        if untouched {
            return Reused::Everything;
        }
        self.compile();
        Reused::Nothing
    }

    fn take(&mut self, change: Change) {
        fn put<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
            match value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
        let snapshot = &mut self.snapshot;
        match change {
            Change::Namespace(name, labels) => put(&mut snapshot.namespaces, name, labels),
            Change::Pod(name, pod) => put(&mut snapshot.pods, name, pod),
            Change::Policy(name, policy) => put(&mut snapshot.policies, name, policy),
            Change::ClusterPolicy(name, one) => put(&mut snapshot.cluster_policies, name, one),
            Change::Service(name, service) => put(&mut snapshot.services, name, service),
            Change::EndpointSlice(name, one) => put(&mut snapshot.endpoint_slices, name, one),
        }
    }

    fn compile(&mut self) {
        let scope = self.node.as_deref().map_or(Scope::Cluster, Scope::Node);
        (self.desired, self.faults) = compile(&self.snapshot, scope);
        let rules = self.desired.policies.values().flat_map(|policy| {
            [Direction::Ingress, Direction::Egress].map(|direction| policy.rules(direction))
        });
        let peers = rules.flatten().filter_map(|rule| rule.peers.as_ref());
        let selectors = peers.flat_map(PeerList::peers).filter_map(|peer| match peer {
            PeerKey::Pods { namespaces, pods } => Some((namespaces.clone(), pods.clone())),
            PeerKey::Block { .. } => None,
        });
        self.selectors = selectors.collect();
    }

    /// Frontends are compiled only where something isolates egress.
    fn judges_services(&self) -> bool {
        self.desired.endpoints.values().any(|endpoint| endpoint.egress.is_some())
    }

    fn is_local(&self, pod: &Pod) -> bool {
        self.node.is_none() || pod.node == self.node
    }

    /// Whether a pod's change shows nowhere: the same addresses and ports, the same selectors, and
    /// at a pod of the scope the same policies.
    fn is_idle_pod(&self, name: &ObjectName, new: Option<&Pod>) -> bool {
        let old = self.snapshot.pods.get(name);
        let known = |pod: &&Pod| pod.is_subject();
        let (old, new) = match (old.filter(known), new.filter(known)) {
            (None, None) => return true,
            (Some(old), Some(new)) => (old, new),
            (Some(_), None) | (None, Some(_)) => return false,
        };
        let (here, stays) = (self.is_local(old), self.is_local(old) == self.is_local(new));
        let same = (&old.addresses, &old.ports) == (&new.addresses, &new.ports);
        if !stays || !same || here && old.uid != new.uid {
            return false;
        }
        if old.labels == new.labels {
            return true;
        }
        self.same_peers(&name.namespace, old, new) && (!here || self.same_policies(name, old, new))
    }

    fn same_peers(&self, namespace: &str, old: &Pod, new: &Pod) -> bool {
        let labels = self.snapshot.namespace_labels(namespace);
        self.selectors.iter().all(|(namespaces, pods)| {
            pods.matches(&old.labels) == pods.matches(&new.labels)
                || match namespaces {
                    Namespaces::Own(own) => own != namespace,
                    Namespaces::Matching(selector) => !selector.matches(&labels),
                }
        })
    }

    fn same_policies(&self, name: &ObjectName, old: &Pod, new: &Pod) -> bool {
        let mut policies = self.snapshot.policies_of(&name.namespace);
        let same =
            |selector: &Selector| selector.matches(&old.labels) == selector.matches(&new.labels);
        policies.all(|(_, policy)| policy.subject.as_ref().is_none_or(same))
            && self
                .snapshot
                .cluster_policies
                .values()
                .all(|policy| policy.subject.as_ref().is_none_or(|set| same(&set.pods)))
    }

    /// Whether neither the old policy nor the new one selects a pod of the node. For the cluster,
    /// faults count even of those that select nothing.
    fn is_idle_policy(&self, name: &ObjectName, new: Option<&NetworkPolicy>) -> bool {
        let old = self.snapshot.policies.get(name);
        if old.zip(new).is_some_and(|(old, new)| old.is_same_rule(new)) {
            return true;
        }
        let pods = self.snapshot.pods.range(ObjectName::new(&name.namespace, "")..);
        let mut here = pods
            .take_while(|(pod, _)| pod.namespace == name.namespace)
            .filter(|(_, pod)| pod.is_subject() && self.is_local(pod));
        let selects = |policy: Option<&NetworkPolicy>, pod: &Pod| {
            policy.is_some_and(|policy| policy.selects(&pod.labels))
        };
        self.node.is_some() && !here.any(|(_, pod)| selects(old, pod) || selects(new, pod))
    }
}
