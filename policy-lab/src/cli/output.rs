//! Prints a report: the table on standard output, everything else on standard error.

use std::io::{self, Write};

use policy_probe::{Style, json, options::TableFormat, terminal, text};

use crate::Report;

/// Why a report could not be printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("cannot write the table as JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot write to standard output")]
    Write(#[from] io::Error),
}

/// Prints a report.
pub(super) fn print(report: &Report, format: TableFormat) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    match format {
        TableFormat::Json => {
            stdout.write_all(json(&report.table)?.as_bytes())?;
            for mismatch in &report.mismatches {
                eprintln!("{mismatch}");
            }
        }
        TableFormat::Table => {
            let style = Style { of_wire: true, ..terminal::style() };
            let drawn = text(&report.table, &report.mismatches, style);
            stdout.write_all(drawn.as_bytes())?;
        }
    }
    stdout.flush()?;
    terminal::notes(&report.notes);
    for finding in &report.findings {
        eprintln!("finding: {finding}");
    }
    Ok(())
}
