//! Prints the answer of a command on standard output, and nothing else there.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::AnsiColor;
use clap::ValueEnum;
use policy_probe::{Outcome, terminal};
use serde::Serialize;

use crate::error::Error;

/// Form of an answer for which a command has no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Colours text, or leaves it plain where standard output shows no colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    colour: bool,
}

impl Paint {
    /// What standard output shows.
    pub(crate) fn of_stdout() -> Self {
        Self { colour: terminal::style().colour }
    }

    /// A text in a colour.
    pub(crate) fn text(self, colour: AnsiColor, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let style = colour.on_default();
        format!("{style}{text}{style:#}")
    }
}

/// The colour of a verdict.
pub(crate) const fn verdict_colour(outcome: Outcome) -> AnsiColor {
    match outcome {
        Outcome::Allow => AnsiColor::Green,
        Outcome::Deny => AnsiColor::Red,
        Outcome::Lost => AnsiColor::Yellow,
    }
}

/// Prints an answer. A reader that has closed its end is no error, and changes no exit code.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// An answer as JSON, with a line break at its end.
pub(crate) fn json<T: Serialize>(answer: &T) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(answer)? + "\n")
}
