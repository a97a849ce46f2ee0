//! Messages on standard error, and how to draw on standard output.

use std::{
    error::Error as StdError,
    io::{self, IsTerminal},
};

use policy_probe::Style;

/// Prints what the reader should know.
pub fn notes(notes: &[String]) {
    for note in notes {
        eprintln!("note: {note}");
    }
}

/// Prints an error and what caused it.
pub fn error(error: &dyn StdError) {
    let mut told = error.to_string();
    eprintln!("error: {told}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let reason = inner.to_string();
        // Some errors repeat their cause.
        if !told.ends_with(&reason) {
            eprintln!("  because: {reason}");
        }
        told = reason;
        cause = inner.source();
    }
}

/// Whether errors may be coloured.
#[must_use]
pub fn coloured() -> bool {
    io::stderr().is_terminal() && !plain()
}

/// How to draw on standard output.
#[must_use]
pub fn style() -> Style {
    let terminal = io::stdout().is_terminal();
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Style { colour: terminal && !plain(), width: width.filter(|_| terminal) }
}

/// What <https://no-color.org> asks for.
fn plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
