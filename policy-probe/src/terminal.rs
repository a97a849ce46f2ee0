//! Messages on standard error, and how to draw on standard output.
//!
//! Only this module checks whether a stream is a terminal, so that an error's `Display` is the same
//! in a log, in a test and on a screen.

use std::{
    error::Error as StdError,
    io::{self, IsTerminal, Write as _},
    iter,
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use policy_core::causes::causes;

use crate::Style;

/// Prints a line on standard error. A failure to write is ignored: nobody reads it.
pub fn line(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints notes on standard error, each as `note: …`.
pub fn notes(notes: &[String]) {
    for note in notes {
        line(&format!("note: {note}"));
    }
}

/// Prints an error as `error: …`, and each cause as `  because: …`.
pub fn error(error: &dyn StdError) {
    let labels = iter::once("error").chain(iter::repeat("  because"));
    for (label, text) in labels.zip(causes(error)) {
        line(&format!("{label}: {text}"));
    }
}

/// Whether standard error shows colours.
#[must_use]
pub fn stderr_has_colour() -> bool {
    has_colour(&io::stderr())
}

/// How to draw on standard output.
#[must_use]
pub fn style() -> Style {
    let stdout = io::stdout();
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Style {
        colour: has_colour(&stdout),
        width: width.filter(|_| stdout.is_terminal()),
        of_wire: false,
    }
}

/// Whether a stream is a terminal that shows colours, and neither `NO_COLOR` nor `CLICOLOR=0` is
/// set.
fn has_colour<S: RawStream>(stream: &S) -> bool {
    // `CLICOLOR_FORCE` would colour what goes into files and pipes.
    stream.is_terminal() && AutoStream::choice(stream) != ColorChoice::Never
}
