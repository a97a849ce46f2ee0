//! `cargo xtask bench`: measurements, printed as tables.

use anyhow::Result;
use clap::Subcommand;

use xtask::command::{cargo, run as run_openly};

/// What to measure.
#[derive(Clone, Copy, Subcommand)]
pub(crate) enum Target {
    /// Time and memory of compiling a cluster for one node, and how both grow
    Compile,
}

/// Runs the measurement, built as it is released.
pub(crate) fn run(target: Target) -> Result<()> {
    let name = match target {
        Target::Compile => "compile",
    };
    run_openly(cargo().args(["bench", "--quiet", "--package", "policy-core", "--bench", name]))
}
