//! NP014: namespaces where a new pod would not be isolated.

use crate::model::{Action, ClusterPeer, Direction, FieldPath, Kind, ObjectRef, policy_type};

use super::{
    context::Context,
    finding::{FieldRef, Level, Report},
    tiers,
};

/// Namespaces with pods or policies in which no policy isolates every pod, whatever its labels.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for namespace in context.snapshot.namespaces.keys() {
        let mut pods = context.snapshot.pods.iter();
        let has_pods = pods.any(|(name, pod)| name.namespace == *namespace && pod.is_subject());
        if !has_pods && context.snapshot.policies_of(namespace).next().is_none() {
            continue;
        }
        let open: Vec<Direction> = Direction::BOTH
            .into_iter()
            .filter(|direction| {
                !closed_by_policy(context, namespace, *direction)
                    && !closed_by_tier(context, namespace, *direction)
            })
            .collect();
        if !open.is_empty() {
            let object = ObjectRef::cluster_wide(Kind::Namespace, namespace);
            let types = open.iter().map(|direction| policy_type(*direction));
            let types = types.collect::<Vec<_>>().join(", ");
            let names: Vec<&str> = open.iter().map(|direction| direction.name()).collect();
            report.add(
                FieldRef { object, field: FieldPath::root() },
                Level::Note,
                format!("no policy isolates every pod for {}", names.join(" and ")),
                format!("add a policy with podSelector: {{}}, policyTypes: [{types}] and no rules"),
            );
        }
    }
}

/// Whether a network policy isolates every pod of a namespace.
fn closed_by_policy(context: &Context<'_>, namespace: &str, direction: Direction) -> bool {
    context.snapshot.policies_of(namespace).any(|(_, policy)| {
        let selects_all = policy.subject.as_ref().is_none_or(|all| all.requirements.is_empty());
        selects_all && policy.applies(direction)
    })
}

/// Whether a cluster-wide policy denies every pod of a namespace whatever no earlier rule is for.
fn closed_by_tier(context: &Context<'_>, namespace: &str, direction: Direction) -> bool {
    tiers::rules(context).any(|located| {
        let selects_all = located.policy.subject.as_ref().is_some_and(|set| {
            set.pods.requirements.is_empty()
                && context.in_namespaces("", Some(&set.namespaces), namespace)
        });
        let rule = located.rule;
        selects_all
            && located.direction == direction
            && rule.action == Action::Deny
            && rule.protocols.is_empty()
            && rule.peers.iter().any(is_everyone)
    })
}

/// Whether a peer is every pod, or every address of a family.
fn is_everyone(peer: &ClusterPeer) -> bool {
    match peer {
        ClusterPeer::Pods(set) => {
            set.namespaces.requirements.is_empty() && set.pods.requirements.is_empty()
        }
        ClusterPeer::Networks(networks) => networks.iter().any(|network| network.prefix() == 0),
        ClusterPeer::Nodes(_) | ClusterPeer::Unknown(_) => false,
    }
}
