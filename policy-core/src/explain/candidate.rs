//! The rules of network policies that could decide about a connection, and why each does not match.
//!
//! Evaluates the objects themselves, not the compiled tables: `policyctl explain` prints the result
//! rule by rule, and lint and [`PolicyChange`](super::PolicyChange) search it.

use std::net::IpAddr;

use crate::model::{Direction, NetworkPolicy, ObjectName, Pod, Protocol, Rule, Snapshot};

use super::{
    ends::{self, Destination, ResolvedEnd},
    miss::{self, Miss},
    question::Question,
    tier::{self, RuleOutcome, TierRule},
    trial::{Trial, first_hit},
};

/// One direction of a connection at one pod; for a Service, to one of its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The pod's direction.
    pub direction: Direction,
    /// The pod that the policies select.
    pub pod: ObjectName,
    /// Address of the far end; for a Service, of a backend.
    pub remote: IpAddr,
    /// The pod at that address.
    pub remote_pod: Option<ObjectName>,
    /// Protocol.
    pub protocol: Protocol,
    /// Destination port; for a Service, that of the backend.
    pub port: u16,
    /// Rules of `ClusterNetworkPolicies` that select the pod, in the order of evaluation.
    pub tiers: Vec<TierRule>,
    /// Network policies that isolate the pod in this direction.
    pub isolating: Vec<ObjectName>,
    /// Network policies that select the pod, but not in this direction.
    pub other_direction: Vec<ObjectName>,
    /// Rules of these network policies, in order.
    pub candidates: Vec<Candidate>,
}

/// A rule of a network policy, and why it does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its policy.
    pub policy: ObjectName,
    /// The list that it stands in.
    pub direction: Direction,
    /// Index in that list.
    pub rule: usize,
    /// Why its direction is wrong; `None` where it is right.
    pub wrong_direction: Option<WrongDirection>,
    /// Index of the entry of `from` or `to` that matches the far end, or why no entry does.
    /// `Ok(None)` where the rule has no such list.
    pub peer: Result<Option<usize>, Vec<(usize, Vec<Miss>)>>,
    /// The same for the port and `ports`.
    pub port: Result<Option<usize>, Vec<(usize, Miss)>>,
}

/// Why the direction of a rule is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongDirection {
    /// `policyTypes` leaves it out, so the rule is not in force.
    NotInPolicyTypes,
    /// The rule would allow the same end in the other direction.
    OtherDirection,
}

impl Candidate {
    /// Whether it allows the connection.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.wrong_direction.is_none() && self.peer.is_ok() && self.port.is_ok()
    }
}

impl Side {
    /// Whether the connection passes here.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.decider().map_or_else(|| self.policies_allow(), TierRule::accepts)
    }

    /// The rule of a tier that decides; `None` where network policies decide, or nobody.
    #[must_use]
    pub fn decider(&self) -> Option<&TierRule> {
        self.tiers.iter().find(|rule| rule.outcome == RuleOutcome::Decides)
    }

    /// What network policies say, whether or not a tier decides before them.
    pub(super) fn policies_allow(&self) -> bool {
        self.isolating.is_empty() || self.candidates.iter().any(Candidate::allows)
    }
}

/// The sides of a connection at which policies are evaluated, egress first.
///
/// Pods that no policy selects have none, nor has a pod that reaches itself (S39), nor ingress from
/// the pod's own node (S37). Empty where an end does not exist or a Service has no backend.
#[must_use]
pub fn sides(snapshot: &Snapshot, question: &Question) -> Vec<Side> {
    let Some(from) = ends::source(snapshot, question) else { return Vec::new() };
    let Some(to) = ends::destination(snapshot, question, &from) else { return Vec::new() };
    let evaluator = Evaluator { snapshot, protocol: question.protocol };
    let reached = evaluator.reached(&from, &to);
    let mut sides = evaluator.egress(&from, &to, &reached);
    for (end, port) in reached {
        let from = ends::arriving(snapshot, &from, &to, end);
        let exempt = |pod: &Pod| from.is_same_pod(end) || from.is_node_of(pod);
        if let Some((_, pod)) = end.pod()
            && !exempt(pod)
        {
            sides.extend(evaluator.side(Direction::Ingress, end, &from, *port));
        }
    }
    sides
}

/// Evaluates policies at the ends of one connection.
struct Evaluator<'a> {
    snapshot: &'a Snapshot,
    protocol: Protocol,
}

impl Evaluator<'_> {
    /// The backends that matter: those that egress allows, if it allows some and denies others (S40);
    /// otherwise all.
    fn reached<'a>(
        &self,
        from: &ResolvedEnd<'_>,
        to: &'a Destination<'a>,
    ) -> Vec<&'a (ResolvedEnd<'a>, u16)> {
        let is_own = |end: &ResolvedEnd<'_>| end.is_same_pod(from);
        let is_allowed = |(end, port): &&(ResolvedEnd<'_>, u16)| {
            let side = self.side(Direction::Egress, from, end, *port);
            side.is_none_or(|side| side.allowed())
        };
        let (own, others): (Vec<_>, Vec<_>) = to.backends.iter().partition(|(end, _)| is_own(end));
        let (allowed, denied): (Vec<_>, Vec<_>) = others.into_iter().partition(is_allowed);
        if denied.is_empty() || allowed.is_empty() {
            return own.into_iter().chain(allowed).chain(denied).collect();
        }
        allowed
    }

    fn egress(
        &self,
        from: &ResolvedEnd<'_>,
        to: &Destination<'_>,
        reached: &[&(ResolvedEnd<'_>, u16)],
    ) -> Vec<Side> {
        let far = reached.iter().map(|(end, port)| (*end, *port));
        let checks_frontend = to.frontend.as_ref().is_some_and(|target| target.checks_frontend);
        let frontend = checks_frontend.then(|| (ends::at(self.snapshot, to.address), to.port));
        far.chain(frontend)
            .filter(|(end, _)| !end.is_same_pod(from))
            .filter_map(|(end, port)| self.side(Direction::Egress, from, &end, port))
            .collect()
    }

    /// The policies that select the near end, evaluated for the far end.
    fn side(
        &self,
        direction: Direction,
        near: &ResolvedEnd<'_>,
        far: &ResolvedEnd<'_>,
        port: u16,
    ) -> Option<Side> {
        let (name, pod) = near.pod()?;
        let selecting = self.snapshot.policies_of(&name.namespace);
        let selecting: Vec<_> =
            selecting.filter(|(_, policy)| policy.selects(&pod.labels)).collect();
        let destination = match direction {
            Direction::Ingress => Some(pod),
            Direction::Egress => far.pod().map(|(_, pod)| pod),
        };
        let (snapshot, protocol) = (self.snapshot, self.protocol);
        let trial = Trial { snapshot, protocol, far, destination, port };
        let mut tiers = tier::rules(&trial, name, pod, direction);
        if selecting.is_empty() && tiers.is_empty() {
            return None;
        }
        let (isolating, other_direction): (Vec<_>, Vec<_>) =
            selecting.iter().partition(|(_, policy)| policy.applies(direction));
        let names =
            |list: Vec<(&ObjectName, _)>| list.into_iter().map(|(name, _)| name.clone()).collect();
        let candidates =
            selecting.iter().flat_map(|(name, policy)| trial.candidates(name, policy, direction));
        tier::settle(&mut tiers, !isolating.is_empty());
        Some(Side {
            direction,
            tiers,
            pod: name.clone(),
            remote: far.address,
            remote_pod: far.pod().map(|(name, _)| name.clone()),
            protocol: self.protocol,
            port,
            candidates: candidates.collect(),
            isolating: names(isolating),
            other_direction: names(other_direction),
        })
    }
}

impl Trial<'_> {
    fn candidates(
        &self,
        name: &ObjectName,
        policy: &NetworkPolicy,
        direction: Direction,
    ) -> Vec<Candidate> {
        // Which pods the author meant is not known, so its rules allow nothing (S17).
        if policy.subject.is_none() {
            return Vec::new();
        }
        let ignored = (!policy.applies(direction)).then_some(WrongDirection::NotInPolicyTypes);
        let rules = policy.rules(direction).iter().enumerate();
        let here =
            rules.map(|(index, rule)| self.candidate(name, (direction, index), rule, ignored));
        let other = direction.opposite();
        let turned = policy.rules(other).iter().enumerate().map(|(index, rule)| {
            self.candidate(name, (other, index), rule, Some(WrongDirection::OtherDirection))
        });
        // A rule of the other direction is shown only where everything else about it matches.
        let turned = turned
            .filter(|found| found.peer.as_ref().is_ok_and(Option::is_some) && found.port.is_ok());
        here.chain(turned).collect()
    }

    fn candidate(
        &self,
        policy: &ObjectName,
        (direction, index): (Direction, usize),
        rule: &Rule,
        wrong_direction: Option<WrongDirection>,
    ) -> Candidate {
        let own = &policy.namespace;
        let of_peer = |peer| miss::of_peer(self.snapshot, own, peer, self.far);
        let misses = rule.peers.iter().map(of_peer).enumerate();
        let peer = first_hit(misses, Vec::is_empty);
        let of_port = |entry| miss::of_port(entry, self.destination, self.protocol, self.port);
        let misses = rule.ports.iter().map(of_port).enumerate();
        let port = first_hit(misses, Option::is_none).map_err(|misses| {
            misses.into_iter().filter_map(|(index, miss)| Some((index, miss?))).collect()
        });
        Candidate { policy: policy.clone(), direction, rule: index, wrong_direction, peer, port }
    }
}
