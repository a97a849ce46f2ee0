//! `cargo xtask demo`: runs the lab on the three-tier example.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use xtask::build;
use xtask::command::{command, line};

/// Builds the lab and nothing else, then becomes its lab: terminal, signals and exit code are
/// the lab's own.
pub(crate) fn run(options: Vec<OsString>) -> Result<()> {
    let mut lab = command(build::build_lab()?);
    lab.args(["lab", "-f", "examples/three-tier.yaml"]);
    lab.args(["--expect", "examples/three-tier.expect.yaml"]).args(options);
    Err(lab.exec()).with_context(|| format!("cannot start {}", line(&lab)))
}
