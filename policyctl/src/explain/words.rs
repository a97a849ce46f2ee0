//! The words for the parts of an explanation. Text and JSON take them from here, and nothing
//! decides by them.

use policy_core::{
    explain::{DecidingPolicy, RuleOutcome, Side, TierRule},
    model::{Action, Direction, FieldPath, PolicyRef, Tier},
};
use serde::Serializer;

/// What a rule of a tier does to the connection, as programs read it.
pub(super) const fn outcome(outcome: RuleOutcome) -> &'static str {
    match outcome {
        RuleOutcome::NoMatch => "misses",
        RuleOutcome::Decides => "decides",
        RuleOutcome::LeavesTier => "leaves",
        RuleOutcome::Shadowed(_) => "behind",
        RuleOutcome::NotEvaluated => "not asked",
    }
}

/// The same for people; `first` is the rule that a shadowed one comes after.
pub(super) fn outcome_for_people(outcome: RuleOutcome, first: Option<&str>) -> String {
    match outcome {
        RuleOutcome::NoMatch => "does not match".to_owned(),
        RuleOutcome::Decides => "decides".to_owned(),
        RuleOutcome::LeavesTier => "leaves the tier".to_owned(),
        RuleOutcome::Shadowed(_) => {
            format!("matches, but comes after {}", first.unwrap_or("an earlier rule"))
        }
        RuleOutcome::NotEvaluated => "matches, but network policies select the pod".to_owned(),
    }
}

/// What a rule does that cannot be enforced as it is written.
pub(super) const fn closed_effect(action: Action) -> &'static str {
    match action {
        Action::Accept => "accepts nothing",
        Action::Deny | Action::Pass => "denies everything",
    }
}

/// What a rule of a tier does; the older API says `Allow` for `Accept`.
pub(super) const fn action(action: Action, is_converted: bool) -> &'static str {
    match (action, is_converted) {
        (Action::Accept, true) => "Allow",
        _ => action.name(),
    }
}

/// A rule of a tier: `spec.ingress[0] of ClusterNetworkPolicy NAME`.
pub(super) fn tier_rule(rule: &TierRule) -> String {
    let policy = PolicyRef::ClusterWide(rule.policy.clone());
    DecidingPolicy { policy, rule: Some(rule.rule) }.describe(rule.direction)
}

/// Where a rule of a tier is in its policy: `spec.ingress[0]`.
pub(super) fn tier_rule_path(rule: &TierRule) -> FieldPath {
    FieldPath::rule(rule.direction, rule.rule)
}

/// The far end of a side, as `from POD` or `to ADDRESS`.
pub(super) const fn preposition(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// The rule that a shadowed rule comes after.
pub(super) fn shadowing_rule(side: &Side, rule: &TierRule) -> Option<String> {
    match rule.outcome {
        RuleOutcome::Shadowed(first) => side.tiers.get(first).map(tier_rule),
        RuleOutcome::NoMatch
        | RuleOutcome::Decides
        | RuleOutcome::LeavesTier
        | RuleOutcome::NotEvaluated => None,
    }
}

/// Serialises a direction as `ingress` or `egress`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn serialize_direction<S: Serializer>(
    direction: &Direction,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(direction.name())
}

/// Serialises a tier by its word.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn serialize_tier<S: Serializer>(value: &Tier, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.name())
}

/// Serialises the outcome of a rule by its word.
pub(super) fn serialize_outcome<S: Serializer>(
    value: &RuleOutcome,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(outcome(*value))
}
