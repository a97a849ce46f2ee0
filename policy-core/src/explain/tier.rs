//! Rules of `ClusterNetworkPolicies` in the order of evaluation, and what each does to a connection
//! (S51).
//!
//! ```text
//! Admin    10  allow-dns[0]   Accept  does not match
//! Admin    20  vault[0]       Pass    matches: leaves the tier
//! Admin    30  lockdown[0]    Deny    matches, but vault[0] left the tier: shadowed
//! Baseline  0  closed[0]      Deny    decides; not evaluated where a network policy isolates the pod
//! ```

use std::fmt;

use crate::model::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPolicyName, ClusterRule, Direction,
    ObjectName, Pod, PodSet, Snapshot, Tier, UnknownPeer,
};

use super::{
    miss::{self, Miss},
    trial::{Trial, first_hit},
};

/// A rule of a `ClusterNetworkPolicy`, why it does not match, and what it does to the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierRule {
    /// Its policy.
    pub policy: ClusterPolicyName,
    /// Tier of the policy.
    pub tier: Tier,
    /// Priority of the policy.
    pub priority: u16,
    /// The list that it stands in.
    pub direction: Direction,
    /// Index in that list.
    pub rule: usize,
    /// `action` of the rule.
    pub action: Action,
    /// Why it cannot be expressed as written. It is treated as denying: an `Accept` matches nothing, a
    /// `Deny` or `Pass` denies everything (S52).
    pub closed: Option<ClosedReason>,
    /// Index of the entry of `from` or `to` that matches the far end, or why no entry does.
    pub peer: Result<Option<usize>, Vec<(usize, Vec<Miss>)>>,
    /// The same for the port and `protocols`; `Ok(None)` where it has no such list.
    pub port: Result<Option<usize>, Vec<(usize, Miss)>>,
    /// What it does to the connection.
    pub outcome: RuleOutcome,
}

/// Why a rule of a tier cannot be expressed as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedReason {
    /// The subject of its policy cannot be read.
    UnreadableSubject,
    /// One of its peers is not known or cannot be enforced.
    UnknownPeer(UnknownPeer),
}

impl fmt::Display for ClosedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableSubject => f.write_str("the subject cannot be read"),
            Self::UnknownPeer(reason) => reason.fmt(f),
        }
    }
}

/// What a rule of a tier does to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOutcome {
    /// It does not match.
    NoMatch,
    /// It matches and gives the verdict.
    Decides,
    /// It matches with `Pass`: the next stage is evaluated.
    LeavesTier,
    /// It matches, but an earlier rule decided or left the tier: its index among the rules.
    Shadowed(usize),
    /// It matches, but belongs to the Baseline tier, and network policies isolate the pod.
    NotEvaluated,
}

impl TierRule {
    /// Whether it matches the connection, as it is enforced.
    #[must_use]
    pub fn matches(&self) -> bool {
        match (&self.closed, self.action) {
            (None, _) => self.peer.is_ok() && self.port.is_ok(),
            (Some(_), Action::Accept) => false,
            (Some(_), Action::Deny | Action::Pass) => true,
        }
    }

    /// Its action, as it is enforced: a `Pass` that cannot be expressed denies.
    #[must_use]
    pub fn effective_action(&self) -> Action {
        match (&self.closed, self.action) {
            (Some(_), Action::Pass) => Action::Deny,
            (_, action) => action,
        }
    }

    /// Whether it accepts what it matches.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.effective_action() == Action::Accept
    }
}

/// The policies of the tiers in the order of evaluation.
///
/// Of two with the same priority the API leaves the order open; here the name decides.
pub(crate) fn in_order(snapshot: &Snapshot) -> Vec<(&ClusterPolicyName, &ClusterNetworkPolicy)> {
    let mut policies: Vec<_> = snapshot.cluster_policies.iter().collect();
    policies.sort_by_key(|(name, policy)| (policy.tier, policy.priority, *name));
    policies
}

/// Whether a set of pods holds one.
pub(crate) fn holds(snapshot: &Snapshot, set: &PodSet, name: &ObjectName, pod: &Pod) -> bool {
    set.namespaces.matches(&snapshot.namespace_labels(&name.namespace))
        && set.pods.matches(&pod.labels)
}

/// Why a rule cannot be expressed; `None` where it is enforced as written.
pub(crate) fn closed(policy: &ClusterNetworkPolicy, rule: &ClusterRule) -> Option<ClosedReason> {
    if policy.subject.is_none() {
        return Some(ClosedReason::UnreadableSubject);
    }
    rule.peers.iter().find_map(|peer| match peer {
        ClusterPeer::Unknown(reason) => Some(ClosedReason::UnknownPeer(*reason)),
        ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) => None,
    })
}

/// Whether a tier denies a pod anything in a direction, also by a rule that cannot be expressed.
#[must_use]
pub fn denies(snapshot: &Snapshot, name: &ObjectName, pod: &Pod, direction: Direction) -> bool {
    let mut policies = snapshot
        .cluster_policies
        .values()
        .filter(|policy| policy.subject.as_ref().is_none_or(|set| holds(snapshot, set, name, pod)));
    policies.any(|policy| {
        policy.rules(direction).iter().any(|rule| match rule.action {
            Action::Accept => false,
            Action::Deny => true,
            Action::Pass => closed(policy, rule).is_some(),
        })
    })
}

/// Every rule for a pod in one direction, in order of evaluation; outcomes are set by [`settle`].
pub(super) fn rules(
    trial: &Trial<'_>,
    name: &ObjectName,
    pod: &Pod,
    direction: Direction,
) -> Vec<TierRule> {
    let snapshot = trial.snapshot;
    let selecting = in_order(snapshot).into_iter().filter(|(_, policy)| {
        policy.subject.as_ref().is_none_or(|set| holds(snapshot, set, name, pod))
    });
    let mut found = Vec::new();
    for (policy_name, policy) in selecting {
        for (index, rule) in policy.rules(direction).iter().enumerate() {
            let (peer, port) = misses_of(trial, rule);
            found.push(TierRule {
                policy: policy_name.clone(),
                tier: policy.tier,
                priority: policy.priority,
                direction,
                rule: index,
                action: rule.action,
                closed: closed(policy, rule),
                peer,
                port,
                outcome: RuleOutcome::NoMatch,
            });
        }
    }
    found
}

type Misses =
    (Result<Option<usize>, Vec<(usize, Vec<Miss>)>>, Result<Option<usize>, Vec<(usize, Miss)>>);

fn misses_of(trial: &Trial<'_>, rule: &ClusterRule) -> Misses {
    let of_peer = |peer| miss::of_cluster_peer(trial.snapshot, peer, trial.far);
    let peer = first_hit(rule.peers.iter().map(of_peer).enumerate(), Vec::is_empty);
    // Unlike in network policies, a rule without peers matches nobody.
    let peer = if rule.peers.is_empty() { Err(Vec::new()) } else { peer };
    let of_port = |entry| miss::of_protocol(entry, trial.destination, trial.protocol, trial.port);
    let port = first_hit(rule.protocols.iter().map(of_port).enumerate(), Option::is_none);
    let port = port.map_err(|misses| {
        misses.into_iter().filter_map(|(index, miss)| Some((index, miss?))).collect()
    });
    (peer, port)
}

/// Sets the outcome of each rule (S51).
pub(super) fn settle(rules: &mut [TierRule], isolated: bool) {
    let mut decided = None;
    // The rule that left its tier, and the tier.
    let mut left: Option<(usize, Tier)> = None;
    for (index, rule) in rules.iter_mut().enumerate() {
        if !rule.matches() {
            continue;
        }
        let before = left.filter(|(_, tier)| *tier == rule.tier).map(|(at, _)| at);
        rule.outcome = match (decided.or(before), rule.effective_action()) {
            (Some(first), _) => RuleOutcome::Shadowed(first),
            (None, _) if rule.tier == Tier::Baseline && isolated => RuleOutcome::NotEvaluated,
            (None, Action::Pass) => {
                left = Some((index, rule.tier));
                RuleOutcome::LeavesTier
            }
            (None, Action::Accept | Action::Deny) => {
                decided = Some(index);
                RuleOutcome::Decides
            }
        };
    }
}
