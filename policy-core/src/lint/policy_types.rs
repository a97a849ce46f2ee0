//! NP012: `policyTypes` that contradict the rules.

use crate::model::{Direction, FieldPath, policy_type};

use super::{
    context::{Context, policy_field},
    finding::{Fix, Level, Report},
};

/// Rules that are not in force, and isolation that the author did not write.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in &context.snapshot.policies {
        for direction in Direction::BOTH {
            let policy_type = policy_type(direction);
            if !policy.rules(direction).is_empty() && !policy.applies(direction) {
                report.add(
                    policy_field(name, FieldPath::spec(direction.name())),
                    Level::Error,
                    format!("policyTypes lacks {policy_type}, so these rules are not in force"),
                    format!("add {policy_type} to policyTypes, or remove the rules"),
                );
            }
        }
        let only_egress = policy.ingress.is_empty() && !policy.egress.is_empty();
        if policy.policy_types.is_none() && only_egress {
            report.add(
                policy_field(name, FieldPath::root().field("spec")),
                Level::Warning,
                "without policyTypes it isolates ingress too, and has no ingress rule",
                "write policyTypes: [Egress], or [Ingress, Egress] if both are meant",
            );
            report.fix_last(Fix::WritePolicyTypes(Direction::BOTH.to_vec()));
        }
    }
}
