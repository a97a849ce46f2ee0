//! The graph in the form that programs read: namespaces with their workloads, and an edge for each
//! pair of workloads between which connections are allowed.
//!
//! Input: a truth table of pods. The rows of all pods of two workloads make one edge: a port is part
//! of the edge if one row allows it, and `partly` if another denies it.

use std::collections::{BTreeMap, BTreeSet};

use policy_core::explain::{DecidingPolicy, denies};
use policy_core::model::{Direction, ObjectName, Protocol, Snapshot};
use policy_manifest::End;
use policy_probe::{Outcome, Row, Table};
use serde::Serialize;

use crate::scope::Scope;
use crate::workload;

/// Which workloads may connect to which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Picture {
    pub(super) namespaces: Vec<Namespace>,
    pub(super) edges: Vec<Edge>,
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
    pub(super) ports: Vec<EdgePort>,
    /// Policies that allow it, as `namespace/name`; empty where none applies.
    pub(super) by: Vec<String>,
}

/// A port at which connections pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EdgePort {
    pub(super) port: u16,
    pub(super) protocol: &'static str,
    /// Whether only some pods or families are allowed.
    pub(super) partly: bool,
}

/// The rows of the pods of two workloads.
#[derive(Default)]
struct Pair<'a> {
    ports: BTreeMap<(u16, Protocol), Vec<&'a Row>>,
    by: BTreeSet<String>,
}

impl Picture {
    /// Draws a truth table of pods: workloads of the scope, and those with an edge to one of them.
    pub(super) fn of(snapshot: &Snapshot, table: &Table, scope: &Scope) -> Self {
        let workloads = workload::of_pods(snapshot);
        let of = |end: &End| match end {
            End::Pod(name) => workloads.get(name),
            End::Host(_) | End::Service(_) | End::Address(_) => None,
        };
        let mut pairs: BTreeMap<(&ObjectName, &ObjectName), Pair<'_>> = BTreeMap::new();
        for row in &table.probes {
            if let Some(ends) = of(&row.from).zip(of(&row.to)) {
                let pair = pairs.entry(ends).or_default();
                pair.ports.entry((row.port, row.protocol)).or_default().push(row);
                if row.verdict == Outcome::Allow {
                    let deciders = row.by.ingress.iter().chain(row.by.egress.iter());
                    pair.by.extend(deciders.map(policy));
                }
            }
        }
        let edges = pairs.into_iter().map(|((from, to), pair)| Edge::of(from, to, pair));
        let edges: Vec<Edge> = edges.filter(|edge| !edge.ports.is_empty()).collect();
        let mut namespaces = namespaces(snapshot, &workloads);
        for namespace in &mut namespaces {
            let linked = |workload: &Workload| {
                let name = format!("{}/{}", namespace.name, workload.name);
                edges.iter().any(|edge| edge.from == name || edge.to == name)
            };
            namespace.workloads.retain(|one| scope.holds(&namespace.name) || linked(one));
        }
        namespaces.retain(|namespace| !namespace.workloads.is_empty());
        Self { namespaces, edges }
    }
}

impl Edge {
    fn of(from: &ObjectName, to: &ObjectName, pair: Pair<'_>) -> Self {
        let ports = pair.ports.into_iter().filter_map(|((port, protocol), rows)| {
            let allowed = rows.iter().filter(|row| row.verdict == Outcome::Allow).count();
            let partly = allowed < rows.len();
            (allowed > 0).then_some(EdgePort { port, protocol: protocol.name(), partly })
        });
        Self {
            from: from.to_string(),
            to: to.to_string(),
            ports: ports.collect(),
            by: pair.by.into_iter().collect(),
        }
    }

    /// Its ports, for people.
    pub(super) fn label(&self) -> String {
        let ports = self.ports.iter().map(|EdgePort { port, protocol, partly }| {
            format!("{port}/{protocol}{}", if *partly { "*" } else { "" })
        });
        ports.collect::<Vec<_>>().join(", ")
    }
}

fn namespaces(snapshot: &Snapshot, workloads: &BTreeMap<ObjectName, ObjectName>) -> Vec<Namespace> {
    let mut found: BTreeMap<&ObjectName, Workload> = BTreeMap::new();
    for (pod, workload) in workloads {
        let isolated = |direction| isolated(snapshot, pod, direction);
        let (ingress, egress) = (isolated(Direction::Ingress), isolated(Direction::Egress));
        let entry = found.entry(workload).or_insert_with(|| Workload {
            name: workload.name.clone(),
            pods: Vec::new(),
            ingress_isolated: true,
            egress_isolated: true,
        });
        entry.pods.push(pod.name.clone());
        entry.ingress_isolated &= ingress;
        entry.egress_isolated &= egress;
    }
    let mut namespaces: Vec<Namespace> = Vec::new();
    for (name, workload) in found {
        match namespaces.last_mut() {
            Some(last) if last.name == name.namespace => last.workloads.push(workload),
            _ => namespaces
                .push(Namespace { name: name.namespace.clone(), workloads: vec![workload] }),
        }
    }
    namespaces
}

fn isolated(snapshot: &Snapshot, name: &ObjectName, direction: Direction) -> bool {
    snapshot.pods.get(name).is_some_and(|pod| {
        let mut policies = snapshot.policies_of(&name.namespace);
        let mut selected =
            || policies.any(|(_, policy)| policy.applies(direction) && policy.selects(&pod.labels));
        pod.is_subject() && (selected() || denies(snapshot, name, pod, direction))
    })
}

fn policy(by: &DecidingPolicy) -> String {
    by.policy.to_string()
}
