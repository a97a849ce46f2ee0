//! The command line.

mod lab;
mod progress;
mod sources;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Exit codes, as in every command of this project.
mod exit {
    /// Nothing to report.
    pub(super) const FINE: u8 = 0;
    /// An expectation not met, wire and compiler disagree, a probe lost.
    pub(super) const FINDINGS: u8 = 1;
    /// Bad input or usage.
    pub(super) const INPUT: u8 = 2;
    /// The environment or the tool itself failed.
    pub(super) const FAILED: u8 = 3;
}

#[derive(Debug, Parser)]
#[command(name = "policy-agent", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds a cluster out of network namespaces and probes it through the real dataplane
    Lab(lab::Arguments),
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // clap ends the process with 2 on bad usage, and with 0 after --help.
    let Arguments { command } = Arguments::parse();
    let run = || match command {
        Command::Lab(arguments) => lab::main(arguments),
    };
    // A panic has printed itself and unwound what stood; it is the tool's failure.
    let code = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(exit::FAILED);
    ExitCode::from(code)
}
