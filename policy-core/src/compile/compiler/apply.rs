//! Applies a change to the snapshot, and finds what it touches.
//!
//! Input: one object, and the snapshot before. Output: the changed snapshot, and [`Touched`]: the
//! pods, policies and Services that the stages must look at again. What no verdict depends on, such
//! as an annotation, touches nothing. On a node with the pods `shop/web` and `shop/db`:
//!
//! ```text
//! policy shop/allow, podSelector app=web, gets a port    policies: allow     subjects: shop/web
//! pod shop/web gets the label tier=front                 pods: shop/web      subjects: shop/web
//! pod of another node gets a label                       pods: that one      subjects: none
//! policy shop/allow gets an annotation                   nothing
//! ```

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    compile::change::{Change, Touched, TouchedPods},
    model::{
        ClusterNetworkPolicy, ClusterPeer, ClusterPolicyName, Direction, EndpointSlice, Namespace,
        NetworkPolicy, Node, ObjectName, Pod, PolicyRef,
    },
};

use super::Compiler;

impl Compiler {
    pub(super) fn apply(&mut self, change: Change) -> Touched {
        let mut touched = Touched::default();
        match change {
            Change::Namespace(name, namespace) => self.namespace(&name, namespace, &mut touched),
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
        touched
    }

    fn namespace(&mut self, name: &str, namespace: Option<Namespace>, touched: &mut Touched) {
        let before = self.snapshot.namespace_labels(name).into_owned();
        let choices = |namespace: &Option<Namespace>| {
            namespace.as_ref().map(|one| (one.may_spoof, one.deny_reply)).unwrap_or_default()
        };
        let new = choices(&namespace);
        let old = put(&mut self.snapshot.namespaces, name.to_owned(), namespace);
        if choices(&old) != new {
            touched.subjects.extend(self.stages.rules.subjects_in(name).cloned());
        }
        if before == *self.snapshot.namespace_labels(name) {
            return;
        }
        // `NetworkPolicies` select pods by the labels of pods alone; only the subjects of
        // `ClusterNetworkPolicies` depend on labels of namespaces.
        touched.namespace = Some(name.to_owned());
        if !self.snapshot.cluster_policies.is_empty() {
            touched.subjects.extend(self.stages.rules.subjects_in(name).cloned());
        }
    }

    fn pod(&mut self, name: &ObjectName, mut pod: Option<Pod>, touched: &mut Touched) {
        if let Some(pod) = &mut pod {
            self.stages.peers.share(&name.namespace, pod);
        }
        let old = put(&mut self.snapshot.pods, name.clone(), pod);
        let old = old.filter(Pod::is_subject);
        let new = self.snapshot.pods.get(name).filter(|pod| pod.is_subject());
        let is_same = match (&old, new) {
            (None, None) => return,
            (Some(old), Some(new)) => seen_of_pod(old) == seen_of_pod(new),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let local = |pod: Option<&Pod>| pod.is_some_and(|pod| self.stages.rules.is_local(pod));
        let (was_here, is_here) = (local(old.as_ref()), local(new));
        let is_same_pod = old.as_ref().map(|pod| &pod.uid) == new.map(|pod| &pod.uid);
        // The endpoint carries the UID, so that another pod of the same name is written too.
        if was_here != is_here || is_here && (!is_same || !is_same_pod) {
            touched.subjects.insert(name.clone());
        }
        if is_same {
            return;
        }
        let before = old.as_ref().map(|pod| &*pod.addresses).unwrap_or_default();
        let after = new.map(|pod| &*pod.addresses).unwrap_or_default();
        // Whether a gateway's address is a node's depends on whether a pod has it.
        let is_gateway = |address: &IpAddr| self.stages.services.is_gateway(*address);
        touched.nodes = before != after && before.iter().chain(after).any(is_gateway);
        touched.pods = TouchedPods::One(name.clone(), old.map(Box::new));
    }

    fn policy(&mut self, name: ObjectName, policy: Option<NetworkPolicy>, touched: &mut Touched) {
        let old = put(&mut self.snapshot.policies, name.clone(), policy);
        let new = self.snapshot.policies.get(&name);
        let is_same = match (&old, new) {
            (Some(old), Some(new)) => old.is_same_rule(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if is_same {
            return;
        }
        // Pods that neither the old policy nor the new one selects keep their policies.
        let selected = self.stages.rules.subjects_in(&name.namespace).filter(|pod| {
            let labels = self.snapshot.pods.get(*pod).map(|pod| &pod.labels);
            let selects = |policy: &NetworkPolicy| labels.is_none_or(|own| policy.selects(own));
            old.as_ref().is_some_and(selects) || new.is_some_and(selects)
        });
        touched.subjects.extend(selected.cloned());
        touched.policies.insert(name.into());
    }

    fn cluster_policy(
        &mut self,
        name: ClusterPolicyName,
        policy: Option<ClusterNetworkPolicy>,
        touched: &mut Touched,
    ) {
        let old = put(&mut self.snapshot.cluster_policies, name.clone(), policy);
        let is_same = match (&old, self.snapshot.cluster_policies.get(&name)) {
            (Some(old), Some(new)) => old.is_same_rule(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !is_same {
            touched.tiers = true;
            touched.policies.insert(PolicyRef::ClusterWide(name));
            // A policy of a tier can select any pod, and its priority can change the order of all.
            touched.subjects.extend(self.stages.rules.subjects().keys().cloned());
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
        touched.nodes = seen_of_node(&old) != seen_of_node(new);
        if old.open_addresses() != new.open_addresses() {
            let policies = self.snapshot.policies.iter();
            let egress = policies.filter(|(_, policy)| policy.applies(Direction::Egress));
            touched.policies.extend(egress.map(|(name, _)| name.clone().into()));
        }
        // Peers that are nodes are compiled into the addresses of these nodes.
        if (&old.labels, &old.addresses) != (&new.labels, &new.addresses) {
            let policies = self.snapshot.cluster_policies.iter();
            let naming = policies.filter(|(_, policy)| names_nodes(policy));
            touched.policies.extend(naming.map(|(name, _)| PolicyRef::ClusterWide(name.clone())));
        }
        if !touched.policies.is_empty() {
            touched.subjects.extend(self.stages.rules.subjects().keys().cloned());
        }
    }
}

/// Inserts or removes a value; returns the one before.
pub(super) fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}

/// What any verdict may depend on of a pod. Its node counts only where the node forwards a port to
/// the pod.
fn seen_of_pod(pod: &Pod) -> impl PartialEq {
    let Pod { labels, addresses, ports, host_ports, node, .. } = pod;
    (labels, addresses, ports, host_ports, (!host_ports.is_empty()).then_some(node))
}

/// What translation and the kinds of addresses depend on of a node.
fn seen_of_node(node: &Node) -> impl PartialEq {
    let Node { addresses, pod_cidrs, interfaces, probe_sources, .. } = node;
    (addresses, pod_cidrs, interfaces, probe_sources, node.zone())
}

/// Whether a policy has peers that are nodes.
fn names_nodes(policy: &ClusterNetworkPolicy) -> bool {
    let rules = Direction::BOTH.into_iter().flat_map(|direction| policy.rules(direction));
    rules.flat_map(|rule| &rule.peers).any(|peer| matches!(peer, ClusterPeer::Nodes(_)))
}
