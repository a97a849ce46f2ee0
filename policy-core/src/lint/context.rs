//! What every rule reads: the cluster, its compiled result, and the rules of its policies.

use std::{cell::OnceCell, collections::BTreeSet, net::IpAddr};

use policy_common::drops::Reason;

use crate::{
    compile::{Scope, compile},
    desired::{Desired, Isolation},
    model::{
        Direction, FieldPath, IpBlock, Kind, NAMESPACE_NAME, NetworkPolicy, ObjectName, ObjectRef,
        Operator, Peer, Pod, PolicyRef, Protocol, Rule, Selector, Snapshot, Sorted,
    },
};

use super::{
    finding::FieldRef,
    well_known::{DNS_LABEL, NAMESPACES, SYSTEM},
};

/// How many names a message lists; the rest is counted.
pub(super) const LISTED: usize = 3;

/// The cluster, and what the compiler makes of it.
pub(super) struct Context<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The policies that are checked; all where it is `None`.
    only: Option<&'a BTreeSet<PolicyRef>>,
    /// Compiled when the first rule needs it.
    desired: OnceCell<Desired>,
    /// Whether there are pods at all: without any, nobody can say what a selector should match.
    pub(super) has_pods: bool,
    /// Whether the input defines namespaces: without any, it is a part of a cluster.
    pub(super) has_namespaces: bool,
}

/// A rule of a network policy, and where it is.
#[derive(Clone, Copy)]
pub(super) struct LocatedRule<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) policy: &'a NetworkPolicy,
    pub(super) direction: Direction,
    pub(super) index: usize,
    pub(super) rule: &'a Rule,
}

impl<'a> Context<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, undefined: &[String]) -> Self {
        let has_pods = snapshot.pods.values().any(Pod::is_subject);
        let has_namespaces = snapshot.namespaces.keys().any(|name| !undefined.contains(name));
        Self { snapshot, only: None, desired: OnceCell::new(), has_pods, has_namespaces }
    }

    /// For some policies of a whole cluster.
    pub(super) fn of_policies(snapshot: &'a Snapshot, only: &'a BTreeSet<PolicyRef>) -> Self {
        Self { only: Some(only), ..Self::new(snapshot, &[]) }
    }

    /// Whether a policy is checked.
    pub(super) fn checks(&self, policy: impl FnOnce() -> PolicyRef) -> bool {
        self.only.is_none_or(|only| only.contains(&policy()))
    }

    /// What the compiler makes of the whole cluster.
    pub(super) fn desired(&self) -> &Desired {
        self.desired.get_or_init(|| compile(self.snapshot, Scope::Cluster).0)
    }

    /// Whether a selector of namespaces can match one that the input does not define: the input
    /// defines none, or the selector names one that every cluster has.
    pub(super) fn may_match_elsewhere(&self, namespaces: &Selector) -> bool {
        // Any label counts: some clusters give these namespaces others than their name.
        let names_one = namespaces.requirements.iter().any(|requirement| {
            let Operator::In(values) = &requirement.operator else { return false };
            values.iter().any(|value| is_everywhere(value))
        });
        !self.has_namespaces || names_one
    }

    /// Whether the input may lack pods that a peer in a namespace of the cluster matches.
    ///
    /// Nobody writes manifests for `kube-system`, where DNS runs; and an input that defines no
    /// namespace is a part of a cluster, with pods of the namespaces that the selector names at
    /// most.
    pub(super) fn may_lack_pods(
        &self,
        own: &str,
        namespaces: Option<&Selector>,
        pods: &Selector,
    ) -> bool {
        let is_shown =
            |namespace: &str| self.snapshot.pods.keys().any(|pod| pod.namespace == namespace);
        let Some(namespaces) = namespaces else {
            return is_everywhere(own) && !is_shown(own);
        };
        let is_dns = pods.requirements.iter().any(|requirement| requirement.key == DNS_LABEL);
        if is_dns && !is_shown(SYSTEM) && self.in_namespaces(own, Some(namespaces), SYSTEM) {
            return true;
        }
        let all_shown =
            named(namespaces).is_some_and(|named| named.iter().all(|name| is_shown(name)));
        self.may_match_elsewhere(namespaces) && !all_shown
    }

    /// Pods that no policy isolates for egress.
    pub(super) fn open_for_egress(&self) -> impl Iterator<Item = &'a ObjectName> {
        let pods = self.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
        pods.map(|(name, _)| name).filter(|name| self.isolation(name, Direction::Egress).is_none())
    }

    /// Every rule of every network policy that is in force, ingress first.
    pub(super) fn rules(&self) -> impl Iterator<Item = LocatedRule<'a>> {
        let policies = self.snapshot.policies.iter();
        let checked =
            policies.filter(|(name, _)| self.checks(|| PolicyRef::Namespaced((*name).clone())));
        checked.flat_map(|(name, policy)| {
            Direction::BOTH
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

    /// The pods that a peer of a policy in namespace `own` matches, by labels or by address.
    pub(super) fn peer_pods(&self, own: &'a str, peer: &'a Peer) -> Vec<(&'a ObjectName, &'a Pod)> {
        let pods = self.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
        match peer {
            Peer::Pods { namespaces, pods: selector } => pods
                .filter(|(name, pod)| {
                    self.in_namespaces(own, namespaces.as_ref(), &name.namespace)
                        && selector.matches(&pod.labels)
                })
                .collect(),
            Peer::Block(block) => pods
                .filter(|(_, pod)| {
                    pod.usable_addresses().any(|address| block_holds(block, address))
                })
                .collect(),
        }
    }

    /// Whether a peer of a policy in namespace `own` matches pods of `namespace`. Without a
    /// namespace selector it matches those of `own`.
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

    /// How a pod is isolated in a direction; `None` where nothing isolates it.
    pub(super) fn isolation(&self, pod: &ObjectName, direction: Direction) -> Option<&Isolation> {
        self.desired().endpoints.get(pod)?.isolation.get(direction).as_ref()
    }

    /// What the compiled tables say about egress to an address at a port.
    pub(super) fn judge_egress(
        &self,
        isolation: &Isolation,
        address: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Result<(), Reason> {
        self.desired().judge(isolation, Direction::Egress, address, protocol, port)
    }
}

/// The names in a selector that is for namespaces of these names alone.
fn named(namespaces: &Selector) -> Option<&Sorted<String>> {
    namespaces.requirements.iter().find_map(|requirement| match &requirement.operator {
        Operator::In(values) if requirement.key == NAMESPACE_NAME => Some(values),
        Operator::In(_) | Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
    })
}

/// Whether every cluster has a namespace.
fn is_everywhere(namespace: &str) -> bool {
    NAMESPACES.contains(&namespace)
}

/// The rules of one direction.
pub(super) fn rules_of<'a>(
    name: &'a ObjectName,
    policy: &'a NetworkPolicy,
    direction: Direction,
) -> impl Iterator<Item = LocatedRule<'a>> {
    let rules = policy.rules(direction).iter().enumerate();
    rules.map(move |(index, rule)| LocatedRule { name, policy, direction, index, rule })
}

impl LocatedRule<'_> {
    /// Its field path, as `spec.ingress[0]`.
    pub(super) fn path(&self) -> FieldPath {
        FieldPath::rule(self.direction, self.index)
    }

    /// The field path of a peer, as `spec.ingress[0].from[1]`.
    pub(super) fn peer_path(&self, index: usize) -> FieldPath {
        FieldPath::peer(self.direction, self.index, index)
    }

    /// The field path of an entry of `ports`, as `spec.ingress[0].ports[1]`.
    pub(super) fn port_path(&self, index: usize) -> FieldPath {
        self.path().field("ports").index(index)
    }

    /// A field of its policy.
    pub(super) fn at(&self, field: FieldPath) -> FieldRef {
        policy_field(self.name, field)
    }
}

/// A field of a network policy.
pub(super) fn policy_field(name: &ObjectName, field: FieldPath) -> FieldRef {
    FieldRef { object: ObjectRef::namespaced(Kind::NetworkPolicy, name), field }
}

/// Whether an address is in a block and in none of its excepts.
pub(super) fn block_holds(block: &IpBlock, address: IpAddr) -> bool {
    block.cidr.contains(address) && !block.except.iter().any(|inner| inner.contains(address))
}
