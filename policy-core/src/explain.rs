//! Explanations: whether a connection passes, which policies decide it, and what every rule that
//! could have decided lacks.
//!
//! Input: the cluster and a [`Question`]. Output: the verdict with its deciding policies
//! ([`explain`]), each rule with the reason why it does not match ([`sides`]), and the smallest
//! change that would allow the connection ([`PolicyChange::smallest`]). `policyctl`, the lab and lint
//! call them.

mod cache;
mod candidate;
mod change;
mod ends;
mod miss;
mod question;
pub(crate) mod tier;
mod trial;
mod verdict;

use std::cell::RefCell;

pub use crate::attribute::{DecidingPolicy, DirectionVerdict};
pub use candidate::{Candidate, Side, WrongDirection, sides};
pub use change::{Addition, PolicyChange};
pub use miss::Miss;
pub use question::{ConnectionEnd, Question};
pub use tier::{ClosedReason, RuleOutcome, TierRule, denies};

use cache::DecisionCache;
use verdict::Judge;

use crate::{desired::Desired, model::Snapshot};

/// The verdict on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Ingress of the destination.
    pub ingress: DirectionVerdict,
    /// Egress of the source.
    pub egress: DirectionVerdict,
}

impl Explanation {
    /// A connection passes only if both directions allow it (S3).
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.ingress.allowed && self.egress.allowed
    }
}

/// Answers questions about one cluster, and caches who decides.
#[derive(Debug)]
pub struct Explainer<'a> {
    snapshot: &'a Snapshot,
    desired: &'a Desired,
    cache: RefCell<DecisionCache>,
}

impl<'a> Explainer<'a> {
    /// `desired` is compiled from `snapshot` for the whole cluster.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, desired: &'a Desired) -> Self {
        Self { snapshot, desired, cache: RefCell::default() }
    }

    /// Judges a connection.
    ///
    /// `None` where an end does not exist or has no address in the family, and for a Service without
    /// ready backends that egress policy does not refuse: no policy is evaluated then. At a port that
    /// the Service does not have, it is judged as a plain address.
    #[must_use]
    pub fn explain(&self, question: &Question) -> Option<Explanation> {
        let Self { snapshot, desired, cache } = self;
        let from = ends::source(snapshot, question)?;
        let to = ends::destination(snapshot, question, &from)?;
        let judge = Judge { snapshot, desired, cache, protocol: question.protocol };
        let egress = judge.egress(&from, &to);
        if to.backends.is_empty() && egress.allowed {
            return None;
        }
        let ingress = judge.ingress(&from, &to);
        Some(Explanation { ingress, egress })
    }
}

/// Judges one connection, as [`Explainer`] does.
#[must_use]
pub fn explain(snapshot: &Snapshot, desired: &Desired, question: &Question) -> Option<Explanation> {
    Explainer::new(snapshot, desired).explain(question)
}
