//! Namespaces without a default deny.

use crate::model::Direction;

use super::{Level, Report, Subject, context::Context};

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
                !policies().any(|(_, policy)| {
                    let everyone =
                        policy.subject.as_ref().is_none_or(|all| all.requirements.is_empty());
                    everyone && policy.applies(*direction)
                })
            })
            .map(|(_, word)| word)
            .collect();
        if !missing.is_empty() {
            report.add(
                Subject { kind: "Namespace", object: namespace.clone(), field: String::new() },
                Level::Note,
                format!("no policy isolates every pod in {}", missing.join(" and ")),
                "add a policy with podSelector: {} and these policyTypes, and no rules",
            );
        }
    }
}
