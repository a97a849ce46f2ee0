//! Namespaces without a default deny.

use crate::model::{Action, ClusterPeer, Direction, FieldPath, Kind, ObjectRef};

use super::{Level, Report, Subject, context::Context, tiers};

/// Namespaces with pods where a new pod would not be isolated, whatever its labels.
pub(super) fn default_deny(context: &Context<'_>, report: &mut Report) {
    for namespace in context.snapshot.namespaces.keys() {
        let pods = context.snapshot.pods.iter();
        let mut pods = pods.filter(|(name, pod)| name.namespace == *namespace && pod.is_subject());
        let policies = || context.snapshot.policies_of(namespace);
        if pods.next().is_none() && policies().next().is_none() {
            continue;
        }
        let missing = [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")];
        let missing: Vec<&str> = missing
            .into_iter()
            .filter(|(direction, _)| {
                !closed_by_tier(context, namespace, *direction)
                    && !policies().any(|(_, policy)| {
                        let everyone =
                            policy.subject.as_ref().is_none_or(|all| all.requirements.is_empty());
                        everyone && policy.applies(*direction)
                    })
            })
            .map(|(_, word)| word)
            .collect();
        if !missing.is_empty() {
            report.add(
                Subject {
                    object: ObjectRef::cluster_wide(Kind::Namespace, namespace.clone()),
                    field: FieldPath::root(),
                },
                Level::Note,
                format!("no policy isolates every pod in {}", missing.join(" and ")),
                "add a policy with podSelector: {} and these policyTypes, and no rules",
            );
        }
    }
}

/// Whether a cluster-wide policy denies a namespace's pods all that no rule before it is for.
fn closed_by_tier(context: &Context<'_>, namespace: &str, direction: Direction) -> bool {
    tiers::rules(context).any(|located| {
        let every_pod = located.policy.subject.as_ref().is_some_and(|set| {
            set.pods.requirements.is_empty()
                && context.in_namespaces("", Some(&set.namespaces), namespace)
        });
        let all = |peer: &ClusterPeer| match peer {
            ClusterPeer::Pods(set) => {
                set.namespaces.requirements.is_empty() && set.pods.requirements.is_empty()
            }
            ClusterPeer::Networks(networks) => networks.iter().any(|network| network.prefix() == 0),
            ClusterPeer::Nodes(_) | ClusterPeer::Unknown { .. } => false,
        };
        let rule = located.rule;
        every_pod
            && located.direction == direction
            && rule.action == Action::Deny
            && rule.protocols.is_empty()
            && rule.peers.iter().any(all)
    })
}
