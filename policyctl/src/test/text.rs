//! The report for people.
//!
//! ```text
//! ✓ frontend can reach backend on 80
//! ✗ nobody reaches db but backend (tests.yaml:4:3)
//!     shop/web -> shop/db IPv4, IPv6: allow TCP 5432, expected deny; ingress: shop/db rule 0
//! ```

use std::fmt::Write;

use policy_probe::Outcome;

use super::{TestReport, cases::CaseResult, failure::Failure};
use crate::output::{Paint, verdict_colour};

/// Most failures of a case that are listed.
const LISTED: usize = 5;

/// A line for each case, and below it why it does not hold.
pub(super) fn render(report: &TestReport<'_>, paint: Paint) -> String {
    let mut out = String::new();
    for result in report.tests {
        let outcome = if result.passed { Outcome::Allow } else { Outcome::Deny };
        let sign = paint.text(verdict_colour(outcome), outcome.sign());
        let place = if result.passed { String::new() } else { format!(" ({})", result.place) };
        let _ = writeln!(out, "{sign} {}{place}", result.name);
        for line in reasons(result, LISTED) {
            let _ = writeln!(out, "    {line}");
        }
    }
    let count = report.tests.len();
    let tests = if count == 1 { "1 test".to_owned() } else { format!("{count} tests") };
    let _ = writeln!(out, "\n{tests}, {} failed", report.failed);
    out
}

/// Why a case does not hold: a line for each of the first failures.
pub(super) fn reasons(result: &CaseResult, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = result.failures.iter().take(most).map(line).collect();
    let more = result.failures.len().saturating_sub(most);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines.extend(result.problem.map(str::to_owned));
    lines
}

fn line(failure: &Failure) -> String {
    let Failure { from, to, families, ports, verdict, expected, decided_by } = failure;
    let families: Vec<&str> = families.iter().map(|family| family.name()).collect();
    let (verdict, expected) = (Outcome::from(*verdict), Outcome::from(*expected));
    format!(
        "{from} -> {to} {}: {verdict} {ports}, expected {expected}; {decided_by}",
        families.join(", ")
    )
}
