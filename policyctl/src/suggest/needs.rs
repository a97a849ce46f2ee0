//! The rules that observed connections need, and that the manifests do not have.
//!
//! Each connection needs egress of its source and ingress of its destination. A side needs nothing if
//! network policies isolate it and allow the connection already:
//!
//! ```text
//! shop/web -> shop/db 5432   web is not isolated: egress rule, once a policy of web is made
//!                            db is isolated, and shop/db rule 0 allows it: nothing
//! ```

use std::{collections::BTreeMap, net::IpAddr};

use policy_core::{
    compile::{Scope, compile},
    desired::Desired,
    explain::{ConnectionEnd, Explainer, Question},
    model::{Direction, Family, ObjectName, PolicyRef, Protocol, Snapshot},
};

use super::{
    connection::{ObservedConnection, PodOrAddress},
    not_expressed::NotExpressed,
};
use crate::workload;

/// The far end of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FarEnd {
    /// The pods of a workload.
    Workload(ObjectName),
    /// An address outside of the cluster, or of a node.
    Address(IpAddr),
}

/// Ports by far end, and the first connection that needs each.
pub(super) type NeededPorts = BTreeMap<FarEnd, BTreeMap<(Protocol, u16), ObservedConnection>>;

/// What each workload needs in each direction.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) of_workloads: BTreeMap<ObjectName, BTreeMap<Direction, NeededPorts>>,
    /// The workload of each pod.
    pub(super) workloads: BTreeMap<ObjectName, ObjectName>,
}

impl Needs {
    /// What the connections need.
    pub(super) fn of(
        snapshot: &Snapshot,
        connections: &[ObservedConnection],
        not_expressed: &mut Vec<NotExpressed>,
    ) -> Self {
        let (desired, _) = compile(snapshot, Scope::Cluster);
        let explainer = Explainer::new(snapshot, &desired);
        let mut needs = Self { workloads: workload::of_pods(snapshot), ..Self::default() };
        for connection in connections {
            let mut concerns_a_pod = false;
            for (to, port) in &connection.backends {
                if connection.from == *to {
                    concerns_a_pod = true;
                    continue;
                }
                let mut add = |direction, own: &PodOrAddress, far: &PodOrAddress| {
                    let PodOrAddress::Pod(pod) = own else { return };
                    concerns_a_pod = true;
                    let asked = question(connection, to, *port);
                    let is_met = is_isolated(&desired, pod, direction)
                        && asked.and_then(|asked| explainer.explain(&asked)).is_some_and(|found| {
                            match direction {
                                Direction::Egress => found.egress.allowed,
                                Direction::Ingress => found.ingress.allowed,
                            }
                        });
                    if !is_met {
                        needs.add(pod, direction, far, (connection, *port));
                    }
                };
                add(Direction::Egress, &connection.from, to);
                add(Direction::Ingress, to, &connection.from);
            }
            if !concerns_a_pod {
                let reason = "neither end is a pod that policies select".to_owned();
                not_expressed.push(NotExpressed::of(connection, reason));
            }
        }
        needs
    }

    fn add(
        &mut self,
        pod: &ObjectName,
        direction: Direction,
        far: &PodOrAddress,
        (connection, port): (&ObservedConnection, u16),
    ) {
        let far = match far {
            PodOrAddress::Address(address) => FarEnd::Address(*address),
            PodOrAddress::Pod(name) => match self.workloads.get(name) {
                Some(workload) => FarEnd::Workload(workload.clone()),
                None => return,
            },
        };
        let Some(workload) = self.workloads.get(pod).cloned() else { return };
        let directions = self.of_workloads.entry(workload).or_default();
        let ports = directions.entry(direction).or_default().entry(far).or_default();
        ports.entry((connection.protocol, port)).or_insert_with(|| connection.clone());
    }
}

/// The question about a connection at one of its backends; `None` where no family fits.
pub(super) fn question(
    connection: &ObservedConnection,
    to: &PodOrAddress,
    port: u16,
) -> Option<Question> {
    let end = |end: &PodOrAddress| match end {
        PodOrAddress::Pod(name) => ConnectionEnd::Pod(name.clone()),
        PodOrAddress::Address(address) => ConnectionEnd::Address(*address),
    };
    let family_of = |end: &PodOrAddress| match end {
        PodOrAddress::Pod(_) => None,
        PodOrAddress::Address(address) => Some(Family::of(*address)),
    };
    let family = match (family_of(&connection.from), family_of(to)) {
        (Some(one), Some(other)) if one != other => return None,
        (one, other) => one.or(other).unwrap_or(Family::Ipv4),
    };
    let (from, to) = (end(&connection.from), end(to));
    Some(Question { from, to, family, protocol: connection.protocol, port })
}

/// Whether a network policy isolates a pod; a tier alone does not.
fn is_isolated(desired: &Desired, pod: &ObjectName, direction: Direction) -> bool {
    let isolation = desired.endpoints.get(pod);
    let isolation = isolation.and_then(|endpoint| endpoint.isolation.get(direction).as_ref());
    let mut policies = isolation.iter().flat_map(|isolation| &isolation.policies);
    policies.any(|policy| matches!(policy, PolicyRef::Namespaced(_)))
}
