//! Rules that never have their turn.

use crate::{
    compile::contains,
    explain::tier::closed,
    model::{
        Action, ClusterNetworkPolicy, ClusterPeer, Direction, FieldPath, PodSet, ProtocolMatch,
        Tier, rules_field,
    },
};

use super::{
    super::{Level, Report, context::Context, shadow::asks_less},
    BOTH, TierRule, policies, policy, rules, subjects,
};

/// Rules wholly behind one that is asked before them.
pub(in super::super) fn behind(context: &Context<'_>, report: &mut Report) {
    let all: Vec<TierRule<'_>> = rules(context).collect();
    for later in &all {
        // What is closed has a finding of its own.
        if closed(later.policy, later.rule).is_some() {
            continue;
        }
        let mut earlier = all.iter().filter(|earlier| precedes(earlier, later));
        if let Some(first) = earlier.find(|earlier| covers(earlier, later)) {
            let other = if first.name == later.name {
                String::new()
            } else {
                format!(" of {}", first.name)
            };
            report.add(
                later.at(later.field()),
                Level::Warning,
                format!("never decides: {}{other} comes first, and means all of it", first.field()),
                "remove it, put it before the other one, or narrow that",
            );
        }
    }
}

/// Whether `first` is asked before `later`, and leaves nothing to it that it means. What has the
/// same priority has no order.
fn precedes(first: &TierRule<'_>, later: &TierRule<'_>) -> bool {
    if first.direction != later.direction {
        return false;
    }
    if first.name == later.name {
        return first.index < later.index;
    }
    match (first.policy.tier, later.policy.tier) {
        (Tier::Admin, Tier::Baseline) => first.rule.action != Action::Pass,
        (Tier::Baseline, Tier::Admin) => false,
        (Tier::Admin, Tier::Admin) | (Tier::Baseline, Tier::Baseline) => {
            first.policy.priority < later.policy.priority
        }
    }
}

/// Whether a rule means all that another one means, for all of its subjects, as far as their form
/// tells.
fn covers(first: &TierRule<'_>, later: &TierRule<'_>) -> bool {
    if closed(first.policy, first.rule).is_some() {
        return false;
    }
    let subjects = match (&first.policy.subject, &later.policy.subject) {
        (Some(wide), Some(narrow)) => holds(wide, narrow),
        (wide, _) => wide.is_none(),
    };
    let peers = &first.rule.peers;
    let ports = &first.rule.protocols;
    let narrow = &later.rule.protocols;
    subjects
        && later.rule.peers.iter().all(|narrow| peers.iter().any(|wide| means(wide, narrow)))
        && (ports.is_empty()
            || !narrow.is_empty()
                && narrow.iter().all(|narrow| ports.iter().any(|wide| includes(wide, narrow))))
}

fn holds(wide: &PodSet, narrow: &PodSet) -> bool {
    asks_less(&wide.namespaces, &narrow.namespaces) && asks_less(&wide.pods, &narrow.pods)
}

fn means(wide: &ClusterPeer, narrow: &ClusterPeer) -> bool {
    match (wide, narrow) {
        (ClusterPeer::Pods(wide), ClusterPeer::Pods(narrow)) => holds(wide, narrow),
        (ClusterPeer::Nodes(wide), ClusterPeer::Nodes(narrow)) => asks_less(wide, narrow),
        (ClusterPeer::Networks(wide), ClusterPeer::Networks(narrow)) => {
            narrow.iter().all(|inner| wide.iter().any(|outer| contains(*outer, *inner)))
        }
        // Networks around all of both families hold pods and nodes, too.
        (ClusterPeer::Networks(wide), ClusterPeer::Pods(_) | ClusterPeer::Nodes(_)) => {
            [true, false]
                .into_iter()
                .all(|v4| wide.iter().any(|one| one.prefix() == 0 && one.is_ipv4() == v4))
        }
        _ => false,
    }
}

fn includes(wide: &ProtocolMatch, narrow: &ProtocolMatch) -> bool {
    match (wide, narrow) {
        (
            ProtocolMatch::Range { protocol, first, last },
            ProtocolMatch::Range { protocol: other, first: low, last: high },
        ) => protocol == other && first <= low && high <= last,
        (wide, narrow) => wide == narrow,
    }
}

/// Policies of the tier Baseline whose subjects all have network policies.
pub(in super::super) fn overridden(context: &Context<'_>, report: &mut Report) {
    for (name, object) in policies(context).filter(|(_, object)| object.tier == Tier::Baseline) {
        for direction in BOTH {
            if !object.rules(direction).is_empty() && is_overridden(context, object, direction) {
                report.add(
                    policy(name, FieldPath::spec(rules_field(direction))),
                    Level::Note,
                    "network policies select every pod that it selects, so it is never asked"
                        .to_owned(),
                    "put into the tier Admin what must hold whatever network policies say",
                );
            }
        }
    }
}

fn is_overridden(
    context: &Context<'_>,
    object: &ClusterNetworkPolicy,
    direction: Direction,
) -> bool {
    let subjects = subjects(context, object);
    !subjects.is_empty()
        && subjects.iter().all(|(name, pod)| {
            let mut policies = context.snapshot.policies_of(&name.namespace);
            policies.any(|(_, policy)| policy.applies(direction) && policy.selects(&pod.labels))
        })
}
