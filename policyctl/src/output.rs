//! Prints the answer of a command on standard output, and nothing else there.

use std::{
    fmt::Display,
    io::{self, BufWriter, StdoutLock, Write},
};

use anstyle::AnsiColor;
use clap::ValueEnum;
use policy_manifest::{LeftOutCounts, Manifests};
use policy_probe::{Outcome, terminal};
use serde::Serialize;

use crate::error::Error;

/// Form of an answer for which a command has no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOrJson {
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

/// Prints an answer.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    print_warned(text, "", &[])
}

/// Prints a part of an answer that goes on; whether its reader has closed its end.
#[cfg(feature = "cluster")]
pub(crate) fn is_closed_after(text: &str) -> io::Result<bool> {
    let mut out = stream();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(out.is_closed)
}

/// Prints a text with the warnings about it below, each after `prefix`.
pub(crate) fn print_warned(text: &str, prefix: &str, warnings: &[String]) -> Result<(), Error> {
    let mut out = stream();
    out.write_all(text.as_bytes())?;
    write_warnings(&mut out, prefix, warnings)?;
    Ok(out.finish()?)
}

/// Writes each warning on a line of its own after `prefix`, which makes it a comment in the form of
/// the answer.
pub(crate) fn write_warnings(
    out: &mut impl Write,
    prefix: &str,
    warnings: &[String],
) -> io::Result<()> {
    for warning in warnings {
        writeln!(out, "{prefix}{warning}")?;
    }
    Ok(())
}

/// Standard output. A reader that has closed its end is no
/// error, and changes no exit code.
pub(crate) struct Stream {
    out: BufWriter<StdoutLock<'static>>,
    is_closed: bool,
}

/// Begins an answer.
pub(crate) fn stream() -> Stream {
    Stream { out: BufWriter::new(io::stdout().lock()), is_closed: false }
}

impl Stream {
    /// Writes what is left.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn tolerate<T>(&mut self, result: io::Result<T>, instead: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(instead)
            }
            other => other,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.tolerate(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.tolerate(flushed, ())
    }
}

/// An answer for programs: the answer's own fields, and how much was left out.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a, T> {
    #[serde(flatten)]
    answer: &'a T,
    left_out: LeftOutCounts,
    /// What the answer does not cover.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl<'a, T: Serialize> Document<'a, T> {
    /// The answer about some manifests.
    pub(crate) fn new(answer: &'a T, manifests: &Manifests) -> Self {
        let (left_out, warnings) = (manifests.left_out_counts(), manifests.warnings());
        Self { answer, left_out, warnings }
    }

    /// As JSON, with a line break at its end.
    pub(crate) fn json(&self) -> Result<String, Error> {
        json(self)
    }

    /// Writes the same to a stream.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        Ok(out.write_all(b"\n")?)
    }
}

/// A value as JSON, with a line break at its end.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Before a warning in text for people.
pub(crate) const WARNING: &str = "warning: ";

/// Before a warning in Markdown.
pub(crate) const MARKDOWN_WARNING: &str = "\n> **Warning:** ";
