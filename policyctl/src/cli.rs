//! The command line.

use std::{env, panic, path::Path, process::ExitCode};

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use policy_probe::exit;

use crate::{diff, explain, graph, lint, list, manual, simulate, suggest, test};
#[cfg(feature = "cluster")]
use crate::{flows, status, top};

/// The name of the program's file as a plugin of kubectl.
const PLUGIN: &str = "kubectl-policy";

#[derive(Debug, Parser)]
#[command(name = "policyctl", version, about, propagate_version = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print which pods may connect to which, as a truth table
    Simulate(simulate::SimulateArguments),
    /// Explain why a connection is allowed or denied, and what would allow it
    Explain(explain::ExplainArguments),
    /// Find policies that are legal, and probably do not do what their author means
    Lint(lint::LintArguments),
    /// List every connection between workloads, with the whole set of ports
    List(list::ListArguments),
    /// Draw which workloads may connect to which
    Graph(graph::GraphArguments),
    /// List the connections that open or close between two sets of manifests
    Diff(diff::DiffArguments),
    /// Check that manifests allow and deny what you expect, in words
    Test(test::TestArguments),
    /// Write the least policies that allow what was observed
    Suggest(suggest::SuggestArguments),
    /// List the connections that were denied on any node, and who denied them
    #[cfg(feature = "cluster")]
    Flows(flows::FlowsArguments),
    /// Print what is enforced on all nodes, and why something is not
    #[cfg(feature = "cluster")]
    Status(status::StatusArguments),
    /// List the policies, rules or workloads with the most denied packets
    #[cfg(feature = "cluster")]
    Top(top::TopArguments),
    /// Print a script that completes commands and options in a shell
    Completion(manual::CompletionArguments),
    /// Print a page of the manual
    Man(manual::ManArguments),
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // clap ends the process with 2 on bad usage, and with 0 after --help.
    let matches = command(env::args_os().next().as_deref().map(Path::new)).get_matches();
    let CommandLine { verb } =
        CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let run = || match verb {
        Verb::Simulate(arguments) => simulate::main(&arguments),
        Verb::Explain(arguments) => explain::main(&arguments),
        Verb::Lint(arguments) => lint::main(&arguments),
        Verb::List(arguments) => list::main(&arguments),
        Verb::Graph(arguments) => graph::main(&arguments),
        Verb::Diff(arguments) => diff::main(&arguments),
        Verb::Test(arguments) => test::main(&arguments),
        Verb::Suggest(arguments) => suggest::main(&arguments),
        #[cfg(feature = "cluster")]
        Verb::Flows(arguments) => flows::main(&arguments),
        #[cfg(feature = "cluster")]
        Verb::Status(arguments) => status::main(&arguments),
        #[cfg(feature = "cluster")]
        Verb::Top(arguments) => top::main(&arguments),
        Verb::Completion(arguments) => manual::completion(&arguments, CommandLine::command()),
        Verb::Man(arguments) => manual::man(&arguments, CommandLine::command()),
    };
    // The panic has printed its message; a bug of the tool is a failure, not bad input.
    let code = match panic::catch_unwind(panic::AssertUnwindSafe(run)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => error.report(),
        Err(_) => exit::FAILED,
    };
    ExitCode::from(code)
}

/// The command line, with the name that the user called it by in its messages.
fn command(program: Option<&Path>) -> Command {
    let command = CommandLine::command();
    let plugin = program.and_then(Path::file_stem).is_some_and(|stem| stem == PLUGIN);
    if plugin { command.bin_name("kubectl policy") } else { command }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::CommandLine;

    #[test]
    fn options_do_not_contradict_one_another() {
        CommandLine::command().debug_assert();
    }
}
