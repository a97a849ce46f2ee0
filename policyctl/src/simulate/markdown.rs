//! A truth table as Markdown.

use std::fmt::Write;

use policy_probe::{Mismatch, Table};

/// One row for each probe, and above them the expectations that are not met.
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
        let _ = writeln!(
            out,
            "| {} | {} | {}/{} | {} | {} {} | {} |",
            row.from,
            row.to,
            row.port,
            row.protocol,
            row.family.name(),
            row.verdict.sign(),
            row.verdict,
            row.decided_by(),
        );
    }
    out
}
