//! What the compiled tables say about one connection, and which policies say it.

mod cache;
mod candidate;
mod change;
mod ends;
mod miss;
pub(crate) mod tier;
mod verdict;

use std::{cell::RefCell, net::IpAddr, sync::Arc};

pub use candidate::{Candidate, Side, WrongDirection, sides};
pub use change::{Addition, Change};
pub use miss::Miss;
pub use tier::{RuleOutcome, TierRule, denies};

use cache::DecisionCache;
use verdict::Judge;

use crate::{
    desired::Desired,
    model::{Family, ObjectName, PolicyRef, Protocol, Snapshot},
};

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionEnd {
    /// A pod; one with `hostNetwork` is a process of its node.
    Pod(ObjectName),
    /// An address that is not asked for by the name of a pod; it may be one's all the same.
    Address(IpAddr),
    /// A Service, at its cluster IP; only as the destination.
    Service(ObjectName),
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Who opens it.
    pub from: ConnectionEnd,
    /// Who is meant.
    pub to: ConnectionEnd,
    /// In which family.
    pub family: Family,
    /// By which protocol.
    pub protocol: Protocol,
    /// At which port, as the initiator sees it.
    pub port: u16,
}

/// The verdict of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionVerdict {
    /// Whether it passes.
    pub allowed: bool,
    /// The rules that decide it; on a default deny the policies that isolate; empty where nothing
    /// isolates, or no tier has a rule for it.
    pub by: Arc<[DecidingPolicy]>,
}

/// A policy that decides, or takes part in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecidingPolicy {
    /// Which one.
    pub policy: PolicyRef,
    /// Index of the rule in `ingress` or `egress`; `None` on a default deny.
    pub rule: Option<usize>,
}

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

/// Answers questions about one cluster; who decides about what is looked for once.
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
    /// A Service without ready backends is judged only where egress policy refuses it; otherwise
    /// no policy has a say. `None` then, and where an end has no address in the family or does not
    /// exist. A Service is its address at a port that it does not have.
    #[must_use]
    pub fn explain(&self, question: &Question) -> Option<Explanation> {
        let Self { snapshot, desired, cache } = self;
        let from = ends::source(snapshot, question)?;
        let to = ends::destination(snapshot, question)?;
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
