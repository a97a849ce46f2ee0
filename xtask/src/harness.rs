//! The programs of other packages of this repository that verbs run: `testbed` and `e2e`.
//!
//! They are separate packages because they depend on the product: this one must build without it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::command::{self, cargo, line, workspace};

/// Becomes a program of this repository: terminal, signals and exit code are its own.
pub(crate) fn exec(package: &str, arguments: &[OsString]) -> Result<()> {
    let mut program = program(package, arguments)?;
    Err(program.exec()).with_context(|| format!("cannot start {}", line(&program)))
}

/// Runs a program of this repository and fails if it fails.
pub(crate) fn run(package: &str, arguments: &[&str]) -> Result<()> {
    command::run(&mut program(package, arguments)?)
}

/// The program starts in the user's own folder, so that relative paths mean what the user means.
fn program(package: &str, arguments: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut program = cargo();
    program.current_dir(env::current_dir().context("the current folder is gone")?);
    program.args(["run", "--package", package, "--manifest-path"]);
    program.arg(workspace().join("Cargo.toml")).arg("--").args(arguments);
    Ok(program)
}
