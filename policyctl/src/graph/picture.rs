//! The graph in the form that programs read: namespaces with their workloads, and an edge for each
//! pair of workloads between which connections are allowed.
//!
//! Input: a compiled cluster and its workloads. The sets of ports of an edge are those of `list`,
//! from the allow maps; nothing is probed. A large cluster has millions of edges, so that none are
//! kept.

use std::collections::BTreeSet;

use policy_core::{
    connections::{Allowed, Connections},
    desired::Ports,
    explain::denies,
    model::{Direction, ObjectName, Protocol, Snapshot},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::deciders::Deciders;
use crate::{list, port_set::PortSet, scope::Scope};

/// Which workloads may connect to which.
pub(super) struct Picture<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) connections: Connections<'a>,
    pub(super) deciders: Deciders<'a>,
    /// Names of the workloads, and their pods in the same order.
    pub(super) workloads: &'a [ObjectName],
    pub(super) pods: &'a [Vec<ObjectName>],
    pub(super) scope: Scope,
    /// The ports to draw; `None` for all.
    pub(super) only: Option<Ports>,
}

/// A namespace that has pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) workloads: Vec<Workload>,
}

/// Pods that are copies of one another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) pods: Vec<String>,
    /// Whether each of its pods is isolated by a policy, or denied something by a tier.
    pub(super) ingress_isolated: bool,
    pub(super) egress_isolated: bool,
}

/// Connections that pass between two workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Edge {
    /// `namespace/workload`.
    pub(super) from: String,
    pub(super) to: String,
    /// Those of the ports that pods of `to` declare, or that an option names.
    pub(super) ports: Vec<EdgePort>,
    /// Every port, as `list` has them.
    pub(super) sets: Vec<EdgeSet>,
    /// Policies that allow it, as `namespace/name`.
    pub(super) by: BTreeSet<String>,
    /// Whether a policy isolates one of the ends in the direction of the edge.
    #[serde(skip)]
    pub(super) is_isolated: bool,
}

/// A port at which connections pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EdgePort {
    pub(super) port: u16,
    pub(super) protocol: &'static str,
    /// Whether only some pods or families are allowed.
    pub(super) partly: bool,
}

/// What is allowed in some families.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EdgeSet {
    pub(super) families: Vec<&'static str>,
    /// Between every pair of pods.
    pub(super) ports: PortSet,
    /// Between some pairs only.
    pub(super) some_pods_only: PortSet,
}

impl Picture<'_> {
    /// Every edge from or to a workload of the scope.
    pub(super) fn edges(&self) -> impl Iterator<Item = Edge> {
        self.pairs().filter_map(|(from, to)| self.edge(from, to))
    }

    /// Workloads of the scope, and those with an edge to one of them.
    pub(super) fn namespaces(&self) -> Vec<Namespace> {
        let is_whole = self.workloads.iter().all(|name| self.scope.holds(&name.namespace));
        let linked: BTreeSet<usize> = if is_whole {
            (0..self.workloads.len()).collect()
        } else {
            let linked = self.pairs().filter(|(from, to)| !self.allowed(*from, *to).is_empty());
            linked.flat_map(|(from, to)| [from, to]).collect()
        };
        let mut namespaces: Vec<Namespace> = Vec::new();
        for (index, (name, pods)) in self.workloads.iter().zip(self.pods).enumerate() {
            if !linked.contains(&index) && !self.scope.holds(&name.namespace) {
                continue;
            }
            let workload = self.workload(name, pods);
            match namespaces.last_mut() {
                Some(last) if last.name == name.namespace => last.workloads.push(workload),
                _ => namespaces
                    .push(Namespace { name: name.namespace.clone(), workloads: vec![workload] }),
            }
        }
        namespaces
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let holds = |index: usize| self.scope.holds(&self.workloads[index].namespace);
        let all = 0..self.workloads.len();
        let pairs = all.clone().flat_map(move |from| all.clone().map(move |to| (from, to)));
        pairs.filter(move |(from, to)| holds(*from) || holds(*to))
    }

    /// The sets of a pair, without those in which nothing is drawn.
    fn allowed(&self, from: usize, to: usize) -> Vec<Allowed> {
        let drawn = |ports: &Ports| {
            let ports = self.only.as_ref().map_or_else(|| ports.clone(), |only| ports.and(only));
            PortSet::new(ports)
        };
        let allowed = self.connections.between(from, to);
        let drawn = allowed.iter().map(|one| Allowed {
            families: one.families.clone(),
            every: drawn(&one.every).into_ports(),
            some: drawn(&one.some).into_ports(),
        });
        drawn.filter(|one| !one.every.is_empty() || !one.some.is_empty()).collect()
    }

    fn edge(&self, from: usize, to: usize) -> Option<Edge> {
        let allowed = self.allowed(from, to);
        if allowed.is_empty() {
            return None;
        }
        let (source, destination) = (&self.pods[from], &self.pods[to]);
        let deciders = self.deciders.of(source, destination, self.only.as_ref());
        let set = |one: &Allowed| EdgeSet {
            families: one.families.iter().map(|family| family.name()).collect(),
            ports: PortSet::new(one.every.clone()),
            some_pods_only: PortSet::new(one.some.clone()),
        };
        Some(Edge {
            from: self.workloads[from].to_string(),
            to: self.workloads[to].to_string(),
            ports: self.declared(from, to, &allowed),
            sets: allowed.iter().map(set).collect(),
            by: deciders.by,
            is_isolated: deciders.is_isolated,
        })
    }

    /// The ports of the edge that pods of `to` declare, or that an option names.
    fn declared(&self, from: usize, to: usize, allowed: &[Allowed]) -> Vec<EdgePort> {
        let candidates: BTreeSet<(u16, Protocol)> = if let Some(only) = &self.only {
            only.ranges.iter().map(|(protocol, first, _)| (*first, *protocol)).collect()
        } else {
            let pods = self.pods[to].iter().filter_map(|name| self.snapshot.pods.get(name));
            pods.flat_map(|pod| &pod.ports).map(|port| (port.port, port.protocol)).collect()
        };
        let families = self.connections.common_families(from, to);
        let ports = candidates.into_iter().filter_map(|(port, protocol)| {
            let every = |one: &&Allowed| one.every.contains(protocol, port);
            let some = |one: &Allowed| one.some.contains(protocol, port);
            let whole: usize = allowed.iter().filter(every).map(|one| one.families.len()).sum();
            let is_allowed = whole > 0 || allowed.iter().any(some);
            let partly = whole < families.len();
            is_allowed.then_some(EdgePort { port, protocol: protocol.name(), partly })
        });
        ports.collect()
    }

    fn workload(&self, name: &ObjectName, pods: &[ObjectName]) -> Workload {
        let all = |direction| pods.iter().all(|pod| isolated(self.snapshot, pod, direction));
        Workload {
            name: name.name.clone(),
            pods: pods.iter().map(|pod| pod.name.clone()).collect(),
            ingress_isolated: all(Direction::Ingress),
            egress_isolated: all(Direction::Egress),
        }
    }
}

/// `{"namespaces": […], "edges": […]}`.
impl Serialize for Picture<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Edges<'a>(&'a Picture<'a>);
        impl Serialize for Edges<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.0.edges())
            }
        }
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("namespaces", &self.namespaces())?;
        map.serialize_entry("edges", &Edges(self))?;
        map.end()
    }
}

impl Edge {
    /// Its sets, for people: `TCP 80 [TCP 22]`, and `IPv4: TCP 80 / IPv6: all` where families differ.
    pub(super) fn label(&self) -> String {
        let ports = |set: &EdgeSet| list::bracketed(&set.ports, &set.some_pods_only);
        match self.sets.as_slice() {
            [only] => ports(only),
            several => {
                let words = several
                    .iter()
                    .map(|set| format!("{}: {}", set.families.join(", "), ports(set)));
                words.collect::<Vec<_>>().join(" / ")
            }
        }
    }
}

fn isolated(snapshot: &Snapshot, name: &ObjectName, direction: Direction) -> bool {
    snapshot.pods.get(name).is_some_and(|pod| {
        let mut policies = snapshot.policies_of(&name.namespace);
        let mut selected =
            || policies.any(|(_, policy)| policy.applies(direction) && policy.selects(&pod.labels));
        pod.is_subject() && (selected() || denies(snapshot, name, pod, direction))
    })
}
