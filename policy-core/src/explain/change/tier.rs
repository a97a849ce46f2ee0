//! The smallest change of a tier that lets a connection pass: an earlier rule gets another port or
//! peer, or a new rule is inserted before the one that denies.

use crate::model::{
    Action, ClusterPeer, ClusterPolicyName, ClusterRule, PolicyRef, ProtocolMatch, Snapshot, Tier,
};

use super::{
    super::{
        candidate::Side,
        tier::{RuleOutcome, TierRule},
    },
    addition::{Addition, PolicyChange},
    narrow, width,
};

/// Longest list that the CRD allows.
const ENTRIES: usize = 25;

/// The addition that is evaluated before the rule that denies, and opens least. `None` where there is
/// none: ingress from an address outside of the cluster, for which a tier has no kind of peer.
pub(super) fn smallest(
    snapshot: &Snapshot,
    side: &Side,
    decider: &TierRule,
) -> Option<PolicyChange> {
    let (protocol, port) = (side.protocol, side.port);
    let entry = ProtocolMatch::Range { protocol, first: port, last: port };
    // Rules behind one that leaves its tier are not evaluated.
    let left = |tier| {
        side.tiers.iter().position(|one| one.tier == tier && one.outcome == RuleOutcome::LeavesTier)
    };
    let evaluated =
        |(index, rule): &(usize, &TierRule)| left(rule.tier).is_none_or(|at| *index < at);
    let earlier = side.tiers.iter().take_while(|rule| *rule != decider).enumerate();
    let earlier = earlier.filter(evaluated).map(|(_, rule)| rule);
    // Only what is evaluated before the rule that denies can help. For a connection to TCP 80:
    //
    //   a[0] Accept  the far end, TCP 443     add port 80 to it, or a rule at the end of `a`
    //   b[0] Accept  10.9.0.0/16, TCP 80      add the far end to it
    //   b[1] Deny    everyone                 decides; a rule may be inserted before it
    //   b[2] Accept  the far end, TCP 80      is too late
    let own = |rule: &&TierRule| rule.policy == decider.policy;
    let earlier: Vec<&TierRule> = earlier.collect();
    // Those of the same policy first: other policies may have other subjects.
    let (own, others): (Vec<&TierRule>, _) = earlier.into_iter().partition(own);
    let mut policies = vec![(&decider.policy, decider.rule)];
    for rule in others.iter().filter(|rule| rule.tier == decider.tier) {
        if policies.iter().all(|(policy, _)| *policy != &rule.policy) {
            policies.push((&rule.policy, usize::MAX));
        }
    }
    let longer = own.iter().chain(&others).filter_map(|rule| extend(snapshot, side, rule, &entry));
    let new = policies.into_iter().filter_map(|(policy, at)| {
        insert(snapshot, side, decider.tier, (policy, at), entry.clone())
    });
    longer.chain(new).min_by_key(|change| width::opened(snapshot, change))
}

/// Adds to an earlier rule that accepts, and that already matches the port or the far end.
fn extend(
    snapshot: &Snapshot,
    side: &Side,
    near: &TierRule,
    entry: &ProtocolMatch,
) -> Option<PolicyChange> {
    if near.closed.is_some() || near.action != Action::Accept {
        return None;
    }
    let policy = snapshot.cluster_policies.get(&near.policy)?;
    let rule = policy.rules(near.direction).get(near.rule)?;
    let addition = match (&near.peer, &near.port) {
        (Ok(_), Err(_)) if rule.protocols.len() < ENTRIES => {
            Addition::Protocol(near.rule, entry.clone())
        }
        (Err(_), Ok(Some(_))) if rule.peers.len() < ENTRIES => {
            let peer = narrow::cluster_peer(snapshot, side)?;
            let by_name = |entry: &ProtocolMatch| matches!(entry, ProtocolMatch::Named(_));
            let of_pods = matches!(peer, ClusterPeer::Pods(_));
            // The API accepts named ports only with peers that are pods.
            if !of_pods && rule.protocols.iter().any(by_name) {
                return None;
            }
            Addition::ClusterPeer(near.rule, peer)
        }
        _ => return None,
    };
    let policy = PolicyRef::ClusterWide(near.policy.clone());
    Some(PolicyChange { policy, direction: side.direction, addition })
}

/// Inserts a rule into a policy before the rule of an index, or at the end. Where the stages after the
/// tier allow the connection, the rule is a `Pass`, which opens less than an `Accept`.
fn insert(
    snapshot: &Snapshot,
    side: &Side,
    tier: Tier,
    (name, at): (&ClusterPolicyName, usize),
    entry: ProtocolMatch,
) -> Option<PolicyChange> {
    let policy = snapshot.cluster_policies.get(name)?;
    let rules = policy.rules(side.direction).len();
    if policy.subject.is_none() || rules >= ENTRIES {
        return None;
    }
    let passes = tier == Tier::Admin && later_allow(side);
    let action = if passes { Action::Pass } else { Action::Accept };
    let (peers, protocols) = (vec![narrow::cluster_peer(snapshot, side)?], vec![entry]);
    Some(PolicyChange {
        policy: PolicyRef::ClusterWide(name.clone()),
        direction: side.direction,
        addition: Addition::ClusterRule(at.min(rules), ClusterRule { action, peers, protocols }),
    })
}

/// Whether the stages after the Admin tier allow the connection.
fn later_allow(side: &Side) -> bool {
    if !side.isolating.is_empty() {
        return side.policies_allow();
    }
    let mut baseline = side.tiers.iter().filter(|rule| rule.tier == Tier::Baseline);
    let first = baseline.find(|rule| rule.outcome != RuleOutcome::NoMatch);
    first.is_none_or(|rule| rule.effective_action() != Action::Deny)
}
