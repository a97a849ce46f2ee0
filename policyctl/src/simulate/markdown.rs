//! A truth table as Markdown.

use std::fmt::Write;

use policy_probe::{Mismatch, Outcome, Table};

/// A row per probe, and the expectations that are not met above them.
pub(super) fn render(table: &Table, mismatches: &[Mismatch]) -> String {
    let mut out = String::new();
    if !mismatches.is_empty() {
        out.push_str("**Not as expected:**\n\n");
        for mismatch in mismatches {
            let _ = writeln!(out, "- `{mismatch}`");
        }
        out.push('\n');
    }
    out.push_str("| From | To | Port | Family | Verdict | By |\n|---|---|---|---|---|---|\n");
    for row in &table.probes {
        let sign = if row.verdict == Outcome::Allow { '✓' } else { '✗' };
        let _ = writeln!(
            out,
            "| {} | {} | {}/{} | {} | {sign} {} | {} |",
            row.from,
            row.to,
            row.port,
            row.protocol,
            row.family.name(),
            row.verdict,
            row.decided_by(),
        );
    }
    out
}
