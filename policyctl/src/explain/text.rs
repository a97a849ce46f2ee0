//! An explanation for people.

use std::fmt::Write;

use super::answer::{Answer, SideAnswer};

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
    if side.isolated_by.is_empty() {
        let elsewhere = side.not_in_this_direction.join(", ");
        let _ = writeln!(out, "    not isolated; selected in the other direction by {elsewhere}");
        return;
    }
    let _ = writeln!(out, "    isolated by {}", side.isolated_by.join(", "));
    if !side.not_in_this_direction.is_empty() {
        let elsewhere = side.not_in_this_direction.join(", ");
        let _ = writeln!(out, "    selected in the other direction only by {elsewhere}");
    }
    // Where it passes, rules that do not help are of no interest.
    let passes = side.verdict == "allow";
    for rule in side.rules.iter().filter(|rule| rule.allows || !passes) {
        let sign = if rule.allows { "allows it" } else { "does not allow it" };
        let _ = writeln!(out, "    {} of {}: {sign}", rule.rule, rule.policy);
        for failed in &rule.failed {
            let _ = writeln!(out, "      {failed}");
        }
    }
    if side.rules.is_empty() {
        let _ = writeln!(out, "    none of them has a rule");
    }
    if let Some(change) = &side.change {
        let _ = writeln!(out, "    to allow it, add to {} of {}:", change.add_to, change.policy);
        let _ = writeln!(out, "      - {}", change.item);
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
