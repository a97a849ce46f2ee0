//! `cargo xtask tidy`: conventions that the compiler and clippy do not check.

mod boundaries;
mod comments;
mod edges;
mod imports;
mod machine;
mod markdown;
mod names;
mod paths;
mod pending;
mod places;
mod rust;
mod types;
mod words;

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use xtask::command::{answer, command, workspace};

/// A text file of the project.
struct Source {
    /// Relative to the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// A place where a convention is broken.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 where the file as a whole is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(source: &Source, line: usize, message: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks every file that git knows or would add, and fails if a convention is broken.
pub(crate) fn run() -> Result<()> {
    let sources = read_all()?;
    for long in rust::long_files(&sources) {
        println!("warning: {long}");
    }
    let (findings, unused) = pending::sort_out(check(&sources));
    for entry in unused {
        println!("warning: tidy/pending.rs need not list {entry}");
    }
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 convention is broken"),
        n => bail!("{n} conventions are broken"),
    }
}

/// All findings, each with the name of its check.
fn check(sources: &[Source]) -> Vec<(&'static str, Finding)> {
    let folders = machine::own_folders();
    let mut findings = Vec::new();
    for source in sources {
        let of_file = [
            ("names", names::check(source)),
            ("rust", rust::check(source)),
            ("boundaries", boundaries::check(source)),
            ("edges", edges::check(source)),
            ("markdown", markdown::check(source)),
            ("machine", machine::check(source, &folders)),
            ("words", words::check(source)),
        ];
        for (name, found) in of_file {
            findings.extend(found.into_iter().map(|finding| (name, finding)));
        }
    }
    let of_all = [
        ("rust", rust::unsafe_crates(sources)),
        ("imports", imports::check(sources)),
        ("types", types::check(sources)),
        ("places", places::check(sources)),
        ("comments", comments::check(sources)),
    ];
    for (name, found) in of_all {
        findings.extend(found.into_iter().map(|finding| (name, finding)));
    }
    findings
}

fn read_all() -> Result<Vec<Source>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let list = answer(command("git").args(list)).context("git cannot list the files")?;
    let mut sources = Vec::new();
    for path in list.lines() {
        match fs::read(workspace().join(path)) {
            // What is no text has no lines to check.
            Ok(bytes) => {
                let text = String::from_utf8(bytes).unwrap_or_default();
                sources.push(Source { path: path.to_owned(), text });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {} // deleted, not yet committed
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        }
    }
    Ok(sources)
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}
