//! `policyTypes` that contradict the rules.

use crate::model::{Direction, FieldPath, rules_field};

use super::{
    Level, Report,
    context::{Context, policy},
};

/// Rules that are not in force, and isolation that nobody wrote down.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for (name, object) in &context.snapshot.policies {
        for (direction, word) in [(Direction::Ingress, "Ingress"), (Direction::Egress, "Egress")] {
            if !object.rules(direction).is_empty() && !object.applies(direction) {
                report.add(
                    policy(name, FieldPath::spec(rules_field(direction))),
                    Level::Error,
                    format!("policyTypes leaves out {word}, so these rules are not in force"),
                    format!("add {word} to policyTypes, or remove the rules"),
                );
            }
        }
        let only_egress = object.ingress.is_empty() && !object.egress.is_empty();
        if object.policy_types.is_none() && only_egress {
            report.add(
                policy(name, FieldPath::root().field("spec")),
                Level::Warning,
                "without policyTypes it isolates ingress too, and has no rule for it".to_owned(),
                "write policyTypes: [Egress], or [Ingress, Egress] if that is meant",
            );
        }
    }
}
