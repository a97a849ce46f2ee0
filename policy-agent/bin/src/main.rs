//! The program `policy-agent`: the agent's commands and, unless it is built without it, the lab.
#![forbid(unsafe_code)]

#[cfg(feature = "daemon")]
mod cli;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use policy_probe::exit;

/// The command line. Subcommands are listed by name, wherever they are defined.
#[derive(Debug, Parser)]
#[command(name = "policy-agent", version, about, propagate_version = true)]
#[command(next_display_order = None)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "daemon")]
    #[command(flatten)]
    Agent(cli::AgentCommand),
    /// Build a cluster of network namespaces, and probe its policies through the real dataplane
    #[cfg(feature = "lab")]
    Lab(policy_lab::cli::Arguments),
}

fn main() -> ExitCode {
    // clap exits with 2 on bad usage and with 0 after --help.
    let CommandLine { command } = CommandLine::parse();
    exit_code(|| match command {
        #[cfg(feature = "daemon")]
        Command::Agent(command) => command.run(),
        #[cfg(feature = "lab")]
        Command::Lab(arguments) => policy_lab::cli::run(arguments),
    })
}

/// Runs a command; a panic in it counts as a failure of the tool.
fn exit_code(command: impl FnOnce() -> u8) -> ExitCode {
    // The panic hook has already printed the message.
    let code = panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or(exit::FAILED);
    ExitCode::from(code)
}
