//! Standard output holds the answer and nothing else.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// Prints an answer.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// An answer as JSON, with a line break at its end.
pub(crate) fn json<T: Serialize>(answer: &T) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(answer)? + "\n")
}
