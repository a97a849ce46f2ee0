//! Standard output holds the answer and nothing else.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Error;

/// Form of an answer that has no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Prints an answer. A reader that has read enough changes nothing about it, nor about the exit code.
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
