//! Messages on standard error, and how to draw on standard output.

use std::{
    error::Error as StdError,
    io::{self, IsTerminal, Write as _},
};

use policy_probe::Style;

/// Prints a message as it is; one that nobody reads is lost, and nothing else.
pub fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints what the reader should know.
pub fn notes(notes: &[String]) {
    for note in notes {
        tell(&format!("note: {note}"));
    }
}

/// Prints an error and what caused it.
pub fn error(error: &dyn StdError) {
    let mut told = error.to_string();
    tell(&format!("error: {told}"));
    let mut cause = error.source();
    while let Some(inner) = cause {
        let reason = inner.to_string();
        // Some errors repeat their cause.
        if !told.ends_with(&reason) {
            tell(&format!("  because: {reason}"));
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
