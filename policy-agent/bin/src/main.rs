//! The program `policy-agent`: the agent's commands and, unless it is built without it, the lab.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    #[command(flatten)]
    Agent(cli::AgentCommand),
    /// Build a cluster of network namespaces, and probe its policies through the real dataplane
    #[cfg(feature = "lab")]
    Lab(policy_lab::cli::Arguments),
}

fn main() -> ExitCode {
    // clap exits with 2 on bad usage and with 0 after --help.
    let CommandLine { command } = CommandLine::parse();
    cli::exit_code(|| match command {
        Command::Agent(command) => command.run(),
        #[cfg(feature = "lab")]
        Command::Lab(arguments) => policy_lab::cli::run(arguments),
    })
}
