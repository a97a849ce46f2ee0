//! Changes for people, and for a comment on a pull request.
//!
//! Workloads with equal changes share a line, so that one change of a policy that concerns a hundred
//! callers is one line:
//!
//! ```text
//! opened shop/api, shop/web and 12 more -> shop/db IPv4, IPv6: TCP 5432
//!     was deny by ingress: no rule of shop/db
//!     now allow by ingress: shop/db rule 1
//! ```

use std::{collections::BTreeMap, fmt::Write};

use anstyle::AnsiColor;
use policy_core::names::first_few;

use super::group::{ChangedPorts, Effect};
use crate::output::Paint;

/// Names that a line lists; more are counted.
const LISTED: usize = 5;

/// What lines have in common apart from their ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ChangeText {
    effect: Effect,
    ports: String,
    families: String,
    was: Option<String>,
    now: Option<String>,
}

/// Equal changes of several ends.
struct Line {
    change: ChangeText,
    from: Vec<String>,
    to: Vec<String>,
}

/// Each line with the policies that decide, and a summary.
pub(super) fn text(groups: &[ChangedPorts], paint: Paint) -> String {
    let mut out = String::new();
    for line in lines(groups) {
        let ChangeText { effect, ports, families, was, now } = &line.change;
        let (color, verdicts) = match effect {
            Effect::Opened => (AnsiColor::Red, ["deny", "allow"]),
            Effect::Closed => (AnsiColor::Green, ["allow", "deny"]),
        };
        let word = paint.text(color, effect.to_string());
        let (from, to) = (first_few(&line.from, LISTED), first_few(&line.to, LISTED));
        let _ = writeln!(out, "{word} {from} -> {to} {families}: {ports}");
        for (time, verdict, by) in [("was", verdicts[0], was), ("now", verdicts[1], now)] {
            if let Some(by) = by {
                let _ = writeln!(out, "    {time} {verdict} by {by}");
            }
        }
    }
    let _ = writeln!(out, "{}", summary(groups));
    out
}

/// A table, with the summary above it.
pub(super) fn markdown(groups: &[ChangedPorts]) -> String {
    let mut out = format!("**{}**\n", summary(groups));
    let lines = lines(groups);
    if lines.is_empty() {
        return out;
    }
    out.push_str(
        "\n| | From | To | Family | Ports | Was by | Now by |\n|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let ChangeText { effect, ports, families, was, now } = &line.change;
        let word = match effect {
            Effect::Opened => "**opened**",
            Effect::Closed => "closed",
        };
        let (from, to) = (first_few(&line.from, LISTED), first_few(&line.to, LISTED));
        let by = |by: &Option<String>| by.clone().unwrap_or_default();
        let (was, now) = (by(was), by(now));
        let _ = writeln!(out, "| {word} | {from} | {to} | {families} | {ports} | {was} | {now} |");
    }
    out
}

/// `2 opened, 1 closed`: sets of connections between two ends.
fn summary(groups: &[ChangedPorts]) -> String {
    let opened = groups.iter().filter(|group| group.opens()).count();
    format!("{opened} opened, {} closed", groups.len() - opened)
}

/// Joins groups that differ in one end only: first the sources, then the destinations.
fn lines(groups: &[ChangedPorts]) -> Vec<Line> {
    let mut by_destination: BTreeMap<(ChangeText, &str), Vec<String>> = BTreeMap::new();
    for group in groups {
        let some = if group.some_pods_only { " [some pods only]" } else { "" };
        let change = ChangeText {
            effect: group.change,
            ports: format!("{}{some}", group.ports),
            families: group.families.join(", "),
            was: group.was_by.clone(),
            now: group.now_by.clone(),
        };
        by_destination.entry((change, &group.to)).or_default().push(group.from.clone());
    }
    let mut by_sources: BTreeMap<(ChangeText, Vec<String>), Vec<String>> = BTreeMap::new();
    for ((change, to), from) in by_destination {
        by_sources.entry((change, from)).or_default().push(to.to_owned());
    }
    by_sources.into_iter().map(|((change, from), to)| Line { change, from, to }).collect()
}
