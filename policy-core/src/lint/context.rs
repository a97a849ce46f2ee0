//! What all rules look at.

use std::net::IpAddr;

use crate::{
    compile::{Scope, compile},
    desired::Desired,
    model::{
        Direction, FieldPath, Kind, NetworkPolicy, ObjectName, ObjectRef, Peer, Pod, Rule,
        Selector, Snapshot,
    },
};

use super::Subject;

/// Names that are listed before the rest is only counted.
const LISTED: usize = 3;

/// The cluster, and what follows from it.
pub(super) struct Context<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) desired: Desired,
    /// Whether there are pods at all: without any, selectors cannot be judged.
    pub(super) has_pods: bool,
}

/// A rule in its place.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) policy: &'a NetworkPolicy,
    pub(super) direction: Direction,
    pub(super) index: usize,
    pub(super) rule: &'a Rule,
}

impl<'a> Context<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let desired = compile(snapshot, Scope::Cluster).0;
        let has_pods = snapshot.pods.values().any(Pod::is_subject);
        Self { snapshot, desired, has_pods }
    }

    /// Every rule that is in force.
    pub(super) fn rules(&self) -> impl Iterator<Item = Located<'a>> {
        let policies = self.snapshot.policies.iter();
        policies.flat_map(|(name, policy)| {
            [Direction::Ingress, Direction::Egress]
                .into_iter()
                .filter(|direction| policy.applies(*direction))
                .flat_map(move |direction| rules_of(name, policy, direction))
        })
    }

    /// The pods that a policy selects.
    pub(super) fn subjects(
        &self,
        name: &'a ObjectName,
        policy: &'a NetworkPolicy,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a Pod)> {
        let pods = self.snapshot.pods.range(ObjectName::new(&name.namespace, "")..);
        pods.take_while(|(pod, _)| pod.namespace == name.namespace)
            .filter(|(_, pod)| pod.is_subject() && policy.selects(&pod.labels))
    }

    /// The pods that a peer means.
    pub(super) fn peer_pods(&self, own: &'a str, peer: &'a Peer) -> Vec<(&'a ObjectName, &'a Pod)> {
        let pods = self.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
        match peer {
            Peer::Pods { namespaces, pods: selector } => pods
                .filter(|(name, pod)| {
                    self.in_namespaces(own, namespaces.as_ref(), &name.namespace)
                        && selector.matches(&pod.labels)
                })
                .collect(),
            Peer::Block(block) => {
                let inside = |address: IpAddr| {
                    block.cidr.contains(address)
                        && !block.except.iter().any(|except| except.contains(address))
                };
                pods.filter(|(_, pod)| pod.usable_addresses().any(inside)).collect()
            }
            Peer::Invalid { .. } => Vec::new(),
        }
    }

    /// Whether a peer of a policy in `own` means pods of `namespace`.
    pub(super) fn in_namespaces(
        &self,
        own: &str,
        namespaces: Option<&Selector>,
        namespace: &str,
    ) -> bool {
        match namespaces {
            None => own == namespace,
            Some(selector) => selector.matches(&self.snapshot.namespace_labels(namespace)),
        }
    }
}

/// The rules of one direction.
pub(super) fn rules_of<'a>(
    name: &'a ObjectName,
    policy: &'a NetworkPolicy,
    direction: Direction,
) -> impl Iterator<Item = Located<'a>> {
    let rules = policy.rules(direction).iter().enumerate();
    rules.map(move |(index, rule)| Located { name, policy, direction, index, rule })
}

impl Located<'_> {
    /// Its field path.
    pub(super) fn field(&self) -> FieldPath {
        FieldPath::rule(self.direction, self.index)
    }

    /// The field path of a peer.
    pub(super) fn peer_field(&self, index: usize) -> FieldPath {
        FieldPath::peer(self.direction, self.index, index)
    }

    /// What a finding about a field of the policy is about.
    pub(super) fn at(&self, field: FieldPath) -> Subject {
        policy(self.name, field)
    }
}

/// A field of a policy.
pub(super) fn policy(name: &ObjectName, field: FieldPath) -> Subject {
    Subject { object: ObjectRef::namespaced(Kind::NetworkPolicy, name), field }
}

/// The first few names, and how many more there are.
pub(super) fn some<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let listed = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}
