//! NP018 and NP020: rules of cluster-wide policies that never decide, because of the order of
//! evaluation.
//!
//! Evaluated are first the policies of the tier Admin, by priority, then network policies, then the
//! tier Baseline; the first rule that matches a connection decides. A rule never decides where one
//! earlier rule matches everything that it matches. Only the form of two rules is compared, as in
//! [`covers()`]. A worked example:
//!
//! ```text
//! Admin 10  a: ingress[0]  Deny from all namespaces
//! Admin 20  b: ingress[0]  Accept from team=red, port 80     never decides: a denies all of it
//! Baseline  c: ingress[0]  Deny from team=red                never decides: a is final, not a Pass
//! ```
//!
//! If `a` were a Pass, it would still hide `b`, which is in the tier that the Pass leaves, but not
//! `c`.

use crate::{
    compile::contains,
    explain::tier::closed,
    model::{
        Action, ClusterNetworkPolicy, ClusterPeer, Direction, FieldPath, PodSet, ProtocolMatch,
        Tier,
    },
};

use super::{
    super::{
        context::Context,
        finding::{Level, Report},
        redundant::covers,
    },
    LocatedTierRule, policies, policy_field, rules, subjects,
};

/// NP018: rules that one earlier rule hides entirely.
pub(in super::super) fn hidden(context: &Context<'_>, report: &mut Report) {
    let all: Vec<LocatedTierRule<'_>> = rules(context).collect();
    for later in &all {
        // A closed rule is NP017.
        if closed(later.policy, later.rule).is_some() {
            continue;
        }
        let mut earlier = all.iter().filter(|earlier| precedes(earlier, later));
        if let Some(first) = earlier.find(|earlier| covers(earlier, later)) {
            let of_policy = if first.name == later.name {
                String::new()
            } else {
                format!(" of {}", first.name)
            };
            report.add(
                later.at(later.path()),
                Level::Warning,
                format!(
                    "never decides: {}{of_policy} is evaluated first and matches all of it",
                    first.path()
                ),
                "remove it, put it before the other rule, or narrow that one",
            );
        }
    }
}

/// Whether `first` is evaluated before `later`, and leaves it nothing of what `first` matches.
///
/// Policies of equal priority have no defined order.
fn precedes(first: &LocatedTierRule<'_>, later: &LocatedTierRule<'_>) -> bool {
    if first.direction != later.direction {
        return false;
    }
    if first.name == later.name {
        return first.index < later.index;
    }
    match (first.policy.tier, later.policy.tier) {
        // A Pass leaves the tier Admin, so that Baseline may still decide.
        (Tier::Admin, Tier::Baseline) => first.rule.action != Action::Pass,
        (Tier::Baseline, Tier::Admin) => false,
        (Tier::Admin, Tier::Admin) | (Tier::Baseline, Tier::Baseline) => {
            first.policy.priority < later.policy.priority
        }
    }
}

/// Whether `first` matches everything that `later` matches, for every pod that `later` selects.
fn covers(first: &LocatedTierRule<'_>, later: &LocatedTierRule<'_>) -> bool {
    if closed(first.policy, first.rule).is_some() {
        return false;
    }
    let subjects = match (&first.policy.subject, &later.policy.subject) {
        (Some(wide), Some(narrow)) => covers_set(wide, narrow),
        // A subject that cannot be read is every pod.
        (wide, _) => wide.is_none(),
    };
    let peers = &first.rule.peers;
    let ports = &first.rule.protocols;
    let narrow = &later.rule.protocols;
    subjects
        && later.rule.peers.iter().all(|narrow| peers.iter().any(|wide| covers_peer(wide, narrow)))
        && (ports.is_empty()
            || !narrow.is_empty()
                && narrow.iter().all(|narrow| ports.iter().any(|wide| covers_port(wide, narrow))))
}

fn covers_set(wide: &PodSet, narrow: &PodSet) -> bool {
    covers::selector(&wide.namespaces, &narrow.namespaces)
        && covers::selector(&wide.pods, &narrow.pods)
}

fn covers_peer(wide: &ClusterPeer, narrow: &ClusterPeer) -> bool {
    match (wide, narrow) {
        (ClusterPeer::Pods(wide), ClusterPeer::Pods(narrow)) => covers_set(wide, narrow),
        (ClusterPeer::Nodes(wide), ClusterPeer::Nodes(narrow)) => covers::selector(wide, narrow),
        (ClusterPeer::Networks(wide), ClusterPeer::Networks(narrow)) => {
            narrow.iter().all(|inner| wide.iter().any(|outer| contains(*outer, *inner)))
        }
        // All addresses of both families include those of pods and nodes.
        (ClusterPeer::Networks(wide), ClusterPeer::Pods(_) | ClusterPeer::Nodes(_)) => {
            [true, false]
                .into_iter()
                .all(|v4| wide.iter().any(|one| one.prefix() == 0 && one.is_ipv4() == v4))
        }
        _ => false,
    }
}

fn covers_port(wide: &ProtocolMatch, narrow: &ProtocolMatch) -> bool {
    match (wide, narrow) {
        (
            ProtocolMatch::Range { protocol, first, last },
            ProtocolMatch::Range { protocol: other, first: low, last: high },
        ) => protocol == other && first <= low && high <= last,
        (wide, narrow) => wide == narrow,
    }
}

/// NP020: policies of the tier Baseline that select only pods with network policies.
pub(in super::super) fn overridden(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in policies(context).filter(|(_, policy)| policy.tier == Tier::Baseline) {
        for direction in Direction::BOTH {
            if !policy.rules(direction).is_empty() && is_overridden(context, policy, direction) {
                report.add(
                    policy_field(name, FieldPath::spec(direction.name())),
                    Level::Note,
                    "network policies select each pod that it selects, so it is never evaluated",
                    "use the tier Admin for what must hold whatever network policies say",
                );
            }
        }
    }
}

fn is_overridden(
    context: &Context<'_>,
    policy: &ClusterNetworkPolicy,
    direction: Direction,
) -> bool {
    let subjects = subjects(context, policy);
    !subjects.is_empty()
        && subjects.iter().all(|(name, pod)| {
            let mut policies = context.snapshot.policies_of(&name.namespace);
            policies.any(|(_, policy)| policy.applies(direction) && policy.selects(&pod.labels))
        })
}
