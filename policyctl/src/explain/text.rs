//! An explanation for people.
//!
//! ```text
//! other/stranger -> backend/api 80/TCP IPv4: deny
//!   10.0.4.1 -> 10.0.2.1
//!   egress of other/stranger: allow: no policy applies
//!   ingress of backend/api from other/stranger at 80: deny
//!     isolated by backend/backend
//!     spec.ingress[0] of backend/backend: does not allow it
//!       from[0]: namespace other is not kubernetes.io/metadata.name=frontend
//!     to allow it, add to spec.ingress[0].from of NetworkPolicy backend/backend:
//!       - {namespaceSelector: …, podSelector: …}
//!     or run: kubectl patch networkpolicy backend -n backend --type=json -p '[…]'
//! ```

use std::fmt::Write;

use policy_core::{
    explain::RuleOutcome,
    model::{Direction, Tier},
};
use policy_manifest::Verdict;
use policy_probe::Outcome;

use super::{
    answer::{Answer, ChangeAnswer, SideAnswer, TierAnswer},
    words,
};
use crate::output::{Paint, verdict_colour};

/// One block per family.
pub(super) fn render(answers: &[Answer], paint: Paint) -> String {
    let blocks: Vec<String> = answers.iter().map(|answer| block(answer, paint)).collect();
    blocks.join("\n")
}

fn block(answer: &Answer, paint: Paint) -> String {
    let Answer { from, to, port, protocol, family, source, destination, .. } = answer;
    let mut out = String::new();
    let verdict = painted(answer.verdict, paint);
    let _ = writeln!(out, "{from} -> {to} {port}/{protocol} {family}: {verdict}");
    let _ = writeln!(out, "  {source} -> {destination}");
    for direction in Direction::BOTH.into_iter().rev() {
        one_direction(&mut out, answer, direction, paint);
    }
    out
}

/// All sides of one direction, or why there is none.
fn one_direction(out: &mut String, answer: &Answer, direction: Direction, paint: Paint) {
    let (end, verdict) = match direction {
        Direction::Ingress => (&answer.to, answer.ingress),
        Direction::Egress => (&answer.from, answer.egress),
    };
    let mut sides = answer.sides.iter().filter(|side| side.direction == direction).peekable();
    if sides.peek().is_none()
        && let Some(verdict) = verdict
    {
        let reason = match verdict {
            Verdict::Allow => "no policy applies",
            Verdict::Deny => "the Service has no ready backend",
        };
        let (name, verdict) = (direction.name(), painted(Some(verdict), paint));
        let _ = writeln!(out, "  {name} of {end}: {verdict}: {reason}");
    }
    for side in sides {
        one_side(out, side, paint);
    }
}

fn one_side(out: &mut String, side: &SideAnswer, paint: Paint) {
    let far = side.remote_pod.clone().unwrap_or_else(|| side.remote.to_string());
    let _ = writeln!(
        out,
        "  {} of {} {} {far} at {}: {}",
        side.direction.name(),
        side.pod,
        words::preposition(side.direction),
        side.port,
        painted(Some(side.verdict), paint)
    );
    if let Some(decider) = &side.decided_by {
        let _ = writeln!(out, "    decided by {decider}");
    }
    // In the order of evaluation.
    one_tier(out, side, Tier::Admin);
    network_policies(out, side);
    one_tier(out, side, Tier::Baseline);
    match (&side.change, side.verdict) {
        (Some(ChangeAnswer { kind, policy, add_to, before, item, command, .. }), _) => {
            let before = before.map(|index| format!(", before [{index}]")).unwrap_or_default();
            let _ = writeln!(out, "    to allow it, add to {add_to} of {kind} {policy}{before}:");
            let _ = writeln!(out, "      - {item}");
            let _ = writeln!(out, "    or run: {command}");
        }
        (None, Verdict::Deny) => {
            let _ = writeln!(out, "    no single addition to these policies would allow it");
        }
        (None, Verdict::Allow) => {}
    }
}

/// The rules of a tier, in order; on an allowed connection only those that match it.
fn one_tier(out: &mut String, side: &SideAnswer, tier: Tier) {
    for rule in side.tiers.iter().filter(|rule| rule.tier == tier) {
        let matches = rule.part != RuleOutcome::NoMatch;
        if !matches && side.verdict == Verdict::Allow {
            continue;
        }
        let TierAnswer { priority, kind, policy, rule: path, action, part, behind, .. } = rule;
        let _ = writeln!(
            out,
            "    {} {priority}: {path} of {kind} {policy}: {action}, {}",
            tier.name(),
            words::outcome_for_people(*part, behind.as_deref())
        );
        if let Some((reason, effect)) = rule.closed.as_ref().zip(rule.effect) {
            let _ = writeln!(out, "      {reason}, so it {effect}");
        }
        for failed in rule.failed.iter().filter(|_| !matches) {
            let _ = writeln!(out, "      {failed}");
        }
    }
}

/// What network policies say, and whether they are evaluated at all.
fn network_policies(out: &mut String, side: &SideAnswer) {
    let decided_by_tier = side.decided_by.is_some();
    let elsewhere = side.not_in_this_direction.join(", ");
    if side.isolated_by.is_empty() {
        let _ = match elsewhere.as_str() {
            "" if decided_by_tier => Ok(()),
            "" => writeln!(out, "    no network policy isolates it"),
            _ => writeln!(out, "    not isolated; selected in the other direction by {elsewhere}"),
        };
        return;
    }
    let isolated = side.isolated_by.join(", ");
    let not_evaluated = match (decided_by_tier, side.isolated_by.len()) {
        (false, _) => "",
        (true, 1) => ", which is not evaluated",
        (true, _) => ", which are not evaluated",
    };
    let _ = writeln!(out, "    isolated by {isolated}{not_evaluated}");
    if !elsewhere.is_empty() {
        let _ = writeln!(out, "    selected in the other direction only by {elsewhere}");
    }
    // On an allowed connection, and where a tier decides, only rules that allow it are of interest.
    let only_allowing = decided_by_tier || side.verdict == Verdict::Allow;
    for rule in side.rules.iter().filter(|rule| rule.allows || !only_allowing) {
        let effect = match (rule.allows, decided_by_tier) {
            (true, false) => "allows it",
            (true, true) => "would allow it",
            (false, _) => "does not allow it",
        };
        let _ = writeln!(out, "    {} of {}: {effect}", rule.rule, rule.policy);
        for failed in &rule.failed {
            let _ = writeln!(out, "      {failed}");
        }
    }
    if side.rules.is_empty() && !decided_by_tier {
        let _ = writeln!(out, "    none of them has a rule");
    }
}

/// A verdict in its colour; `None` where no policy applies.
pub(super) fn painted(verdict: Option<Verdict>, paint: Paint) -> String {
    match verdict.map(Outcome::from) {
        Some(outcome) => paint.text(verdict_colour(outcome), outcome),
        None => paint.text(anstyle::AnsiColor::Yellow, "no policy applies"),
    }
}
