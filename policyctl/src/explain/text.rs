//! An explanation for people.

use std::fmt::Write;

use super::answer::{Answer, ChangeAnswer, SideAnswer, TierAnswer};

/// One block per family.
pub(super) fn render(answers: &[Answer], colour: bool) -> String {
    let blocks: Vec<String> = answers.iter().map(|answer| block(answer, colour)).collect();
    blocks.join("\n")
}

fn block(answer: &Answer, colour: bool) -> String {
    let Answer { from, to, port, protocol, family, source, destination, verdict, .. } = answer;
    let mut out = String::new();
    let said = paint(verdict.unwrap_or("no policy has a say"), colour);
    let _ = writeln!(out, "{from} -> {to} {port}/{protocol} {family}: {said}");
    let _ = writeln!(out, "  {source} -> {destination}");
    half(&mut out, answer, "egress", from, answer.egress, colour);
    half(&mut out, answer, "ingress", to, answer.ingress, colour);
    out
}

/// All sides of one direction.
fn half(
    out: &mut String,
    answer: &Answer,
    direction: &str,
    end: &str,
    verdict: Option<&str>,
    colour: bool,
) {
    let sides = answer.sides.iter().filter(|side| side.direction == direction);
    let sides: Vec<&SideAnswer> = sides.collect();
    if sides.is_empty() {
        let _ = match verdict {
            Some("deny") => writeln!(
                out,
                "  {direction} of {end}: {}: the Service has no ready backend",
                paint("deny", colour)
            ),
            Some(verdict) => writeln!(
                out,
                "  {direction} of {end}: {}: no policy has a say",
                paint(verdict, colour)
            ),
            None => Ok(()),
        };
    }
    for told in sides {
        side(out, told, colour);
    }
}

fn side(out: &mut String, side: &SideAnswer, colour: bool) {
    let far = side.remote_pod.clone().unwrap_or_else(|| side.remote.to_string());
    let preposition = if side.direction == "ingress" { "from" } else { "to" };
    let _ = writeln!(
        out,
        "  {} of {} {preposition} {far} at {}: {}",
        side.direction,
        side.pod,
        side.port,
        paint(side.verdict, colour)
    );
    let decided = side.decided_by.is_some();
    if let Some(decider) = &side.decided_by {
        let _ = writeln!(out, "    decided by {decider}");
    }
    tiers(out, side, "Admin");
    policies(out, side, decided);
    tiers(out, side, "Baseline");
    if let Some(change) = &side.change {
        let ChangeAnswer { kind, policy, add_to, before, item } = change;
        let before = before.map(|index| format!(", before [{index}]")).unwrap_or_default();
        let _ = writeln!(out, "    to allow it, add to {add_to} of {kind} {policy}{before}:");
        let _ = writeln!(out, "      - {item}");
    } else if side.verdict == "deny" {
        let _ = writeln!(out, "    no single addition to these policies would allow it");
    }
}

/// The rules of a tier, in order; where it passes, only those that mean the connection.
fn tiers(out: &mut String, side: &SideAnswer, tier: &str) {
    let passes = side.verdict == "allow";
    let rules = side.tiers.iter().filter(|rule| rule.tier == tier);
    for rule in rules.filter(|rule| !passes || rule.part != "misses") {
        let TierAnswer { priority, policy, rule: field, action, .. } = rule;
        let part = match (rule.part, &rule.behind) {
            ("decides", _) => "decides".to_owned(),
            ("leaves", _) => "leaves the tier".to_owned(),
            ("behind", Some(first)) => format!("means it, but comes after {first}"),
            ("not asked", _) => "means it, but network policies select the pod".to_owned(),
            _ => "does not mean it".to_owned(),
        };
        let _ = writeln!(
            out,
            "    {tier} {priority}: {field} of ClusterNetworkPolicy {policy}: {action}, {part}"
        );
        if let Some(reason) = &rule.closed {
            let read = if *action == "Accept" { "accepts nothing" } else { "denies everything" };
            let _ = writeln!(out, "      {reason}, so it {read}");
        }
        for failed in rule.failed.iter().filter(|_| rule.part == "misses") {
            let _ = writeln!(out, "      {failed}");
        }
    }
}

/// What network policies say; `decided` where a rule of a tier has the word instead.
fn policies(out: &mut String, side: &SideAnswer, decided: bool) {
    let elsewhere = side.not_in_this_direction.join(", ");
    if side.isolated_by.is_empty() {
        let _ = match elsewhere.as_str() {
            "" if decided => Ok(()),
            "" => writeln!(out, "    no network policy isolates it"),
            _ => writeln!(out, "    not isolated; selected in the other direction by {elsewhere}"),
        };
        return;
    }
    let isolated = side.isolated_by.join(", ");
    let not_asked = if decided { ", which are not asked" } else { "" };
    let _ = writeln!(out, "    isolated by {isolated}{not_asked}");
    if !elsewhere.is_empty() {
        let _ = writeln!(out, "    selected in the other direction only by {elsewhere}");
    }
    // Where it passes, or others decide, rules that do not help are of no interest.
    let brief = decided || side.verdict == "allow";
    for rule in side.rules.iter().filter(|rule| rule.allows || !brief) {
        let sign = match (rule.allows, decided) {
            (true, false) => "allows it",
            (true, true) => "would allow it",
            (false, _) => "does not allow it",
        };
        let _ = writeln!(out, "    {} of {}: {sign}", rule.rule, rule.policy);
        for failed in &rule.failed {
            let _ = writeln!(out, "      {failed}");
        }
    }
    if side.rules.is_empty() && !decided {
        let _ = writeln!(out, "    none of them has a rule");
    }
}

/// A verdict in its colour.
fn paint(verdict: &str, colour: bool) -> String {
    let code = match verdict {
        "allow" => 32,
        "deny" => 31,
        _ => 33,
    };
    if colour { format!("\u{1b}[{code}m{verdict}\u{1b}[0m") } else { verdict.to_owned() }
}
