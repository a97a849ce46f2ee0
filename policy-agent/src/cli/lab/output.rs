//! What the lab prints: the table on standard output, everything else on standard error.

use std::{
    error::Error as StdError,
    io::{self, IsTerminal, Write},
};

use policy_probe::{Style, json, text};

use super::Format;
use crate::lab::Report;

/// Why the table could not be printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write the table as JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot write to standard output")]
    Write(#[from] io::Error),
}

/// Prints a report.
pub(super) fn print(report: &Report, format: Format) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match format {
        Format::Json => {
            stdout.write_all(json(&report.table)?.as_bytes())?;
            for mismatch in &report.mismatches {
                eprintln!("{mismatch}");
            }
        }
        Format::Table => {
            let drawn = text(&report.table, &report.mismatches, style());
            stdout.write_all(drawn.as_bytes())?;
        }
    }
    stdout.flush()?;
    notes(&report.notes);
    for finding in &report.findings {
        eprintln!("finding: {finding}");
    }
    Ok(())
}

/// Prints what the reader should know.
pub(super) fn notes(notes: &[String]) {
    for note in notes {
        eprintln!("note: {note}");
    }
}

/// Prints an error and what caused it.
pub(super) fn error(error: &dyn StdError) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprintln!("  because: {inner}");
        cause = inner.source();
    }
}

/// Whether errors may be coloured.
pub(super) fn coloured() -> bool {
    io::stderr().is_terminal() && !plain()
}

fn style() -> Style {
    let terminal = io::stdout().is_terminal();
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Style { colour: terminal && !plain(), width: width.filter(|_| terminal) }
}

/// What <https://no-color.org> asks for.
fn plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
