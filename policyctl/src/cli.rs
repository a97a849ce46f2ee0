//! The command line.

use std::{panic, process::ExitCode};

use clap::{Parser, Subcommand};
use policy_cli::exit;

use crate::{diff, explain, graph, lint, simulate};

#[derive(Debug, Parser)]
#[command(name = "policyctl", version, about, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the truth table that policies give, by the compiler alone
    Simulate(simulate::Arguments),
    /// Says why a connection passes or does not, and what would let it pass
    Explain(explain::Arguments),
    /// Finds policies that are legal and yet hardly what their author means
    Lint(lint::Arguments),
    /// Draws who may talk to whom, by workload and namespace
    Graph(graph::Arguments),
    /// Says which connections open or close between two sets of manifests
    Diff(diff::Arguments),
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // clap ends the process with 2 on bad usage, and with 0 after --help.
    let Arguments { command } = Arguments::parse();
    let run = || match command {
        Command::Simulate(arguments) => simulate::main(&arguments),
        Command::Explain(arguments) => explain::main(&arguments),
        Command::Lint(arguments) => lint::main(&arguments),
        Command::Graph(arguments) => graph::main(&arguments),
        Command::Diff(arguments) => diff::main(&arguments),
    };
    // A panic has printed itself; it is the tool's failure.
    let code = match panic::catch_unwind(panic::AssertUnwindSafe(run)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => error.refuse(),
        Err(_) => exit::FAILED,
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn options_do_not_contradict_one_another() {
        Arguments::command().debug_assert();
    }
}
