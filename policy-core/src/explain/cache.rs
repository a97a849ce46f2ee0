//! Decisions that were found already: many pods have the same policies.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::{
    desired::Isolation,
    model::{ContainerPort, Direction, ObjectName, Pod, PolicyRef, Protocol},
};

use super::DirectionVerdict;

/// All that a decision about an isolated pod depends on, but for the far end: the policies, and for
/// ingress the pod's ports, as policies may name them.
type Alike = (Direction, Vec<PolicyRef>, Vec<ContainerPort>);

/// The number of what is alike; the far end, protocol and port.
pub(super) type Case = (usize, IpAddr, Protocol, u16);

/// What was found already.
#[derive(Debug, Default)]
pub(super) struct DecisionCache {
    by_pod: BTreeMap<(Direction, ObjectName), usize>,
    alike: BTreeMap<Alike, usize>,
    decisions: HashMap<Case, DirectionVerdict>,
}

impl DecisionCache {
    /// The number that pods have in a direction about which all decisions are the same.
    pub(super) fn number(
        &mut self,
        direction: Direction,
        (name, pod): (&ObjectName, &Pod),
        isolation: &Isolation,
    ) -> usize {
        *self.by_pod.entry((direction, name.clone())).or_insert_with(|| {
            let ports = match direction {
                Direction::Ingress => pod.ports.clone(),
                Direction::Egress => Vec::new(),
            };
            let next = self.alike.len();
            *self.alike.entry((direction, isolation.policies.clone(), ports)).or_insert(next)
        })
    }

    /// The decision about a case, if it was found already.
    pub(super) fn get(&self, case: &Case) -> Option<&DirectionVerdict> {
        self.decisions.get(case)
    }

    /// Keeps a decision.
    pub(super) fn keep(&mut self, case: Case, verdict: DirectionVerdict) {
        self.decisions.insert(case, verdict);
    }
}
