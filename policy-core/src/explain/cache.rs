//! A cache of decisions, for questions about many pods: pods with the same policies share theirs.
//!
//! A decision depends on the pod's policies and, for ingress, on the ports of its containers. Pods
//! that agree in both get one number, and decisions are stored by that number:
//!
//! ```text
//! ingress of x/web-1, x/web-2   policies [x/web], ports [80 http]   -> 0
//! ingress of x/db               policies [x/db], ports [5432]       -> 1
//! (0, 10.0.0.9, TCP, 80)                                            -> allowed by x/web rule 2
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::{
    attribute::DirectionVerdict,
    desired::Isolation,
    model::{ContainerPort, Direction, ObjectName, Pod, PolicyRef, Protocol},
};

/// Everything that a decision about an isolated pod depends on except the far end: the policies, and
/// for ingress the ports of the containers, since rules may name them.
type SubjectKey = (Direction, Vec<PolicyRef>, Vec<ContainerPort>);

/// Decisions that are cached at most: some hundred bytes each.
const MOST: usize = 200_000;

/// The number of the subject; the far end, protocol and port.
pub(super) type DecisionKey = (usize, IpAddr, Protocol, u16);

/// The decisions so far.
#[derive(Debug, Default)]
pub(super) struct DecisionCache {
    by_pod: BTreeMap<(Direction, ObjectName), usize>,
    subjects: BTreeMap<SubjectKey, usize>,
    decisions: HashMap<DecisionKey, DirectionVerdict>,
}

impl DecisionCache {
    /// The number that a pod shares in a direction with all pods that get the same decisions.
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
            let next = self.subjects.len();
            *self.subjects.entry((direction, isolation.policies.clone(), ports)).or_insert(next)
        })
    }

    /// The decision about a case, if it is cached.
    pub(super) fn get(&self, case: &DecisionKey) -> Option<&DirectionVerdict> {
        self.decisions.get(case)
    }

    /// Stores a decision. A full cache is emptied: whoever asks about many pods asks in their order, so
    /// that old decisions are not asked for again.
    pub(super) fn insert(&mut self, case: DecisionKey, verdict: DirectionVerdict) {
        if self.decisions.len() >= MOST {
            self.decisions.clear();
        }
        self.decisions.insert(case, verdict);
    }
}
