//! The command line.

mod cni;
mod detach;
mod format;
mod lab;
mod progress;
mod run;
mod status;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use policy_cli::exit;

/// Folder of the pins where no option names another.
const PIN_DIR: &str = "/sys/fs/bpf/policy";

#[derive(Debug, Parser)]
#[command(name = "policy-agent", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes away what an agent that has ended left in force: every packet passes from then on
    Detach(detach::Arguments),
    /// Builds a cluster out of network namespaces and probes it through the real dataplane
    Lab(lab::Arguments),
    /// Enforces the policies of a cluster, or of a folder of manifests, in this network namespace
    Run(run::Arguments),
    /// Says how it stands with every pod and policy of this node
    Status(status::Arguments),
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // clap ends the process with 2 on bad usage, and with 0 after --help.
    let Arguments { command } = Arguments::parse();
    let run = || match command {
        Command::Detach(arguments) => detach::main(&arguments),
        Command::Lab(arguments) => lab::main(arguments),
        Command::Run(arguments) => run::main(arguments),
        Command::Status(arguments) => status::main(&arguments),
    };
    // A panic has printed itself and unwound what stood; it is the tool's failure.
    let code = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(exit::FAILED);
    ExitCode::from(code)
}
