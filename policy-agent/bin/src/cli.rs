//! The agent's commands: `check`, `detach`, `off`, `on`, `run`, `status` and `trace`.
//!
//! Each module parses the options of one command, runs it and returns its exit code.

mod ask;
mod check;
mod cni;
mod detach;
mod listen;
mod run;
mod status;
mod switch;
mod trace;

use clap::Subcommand;

/// Default of `--pin-dir`.
const PIN_DIR: &str = "/sys/fs/bpf/policy";

/// A command and its options.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Check whether this node can run the agent, and print what to do where it cannot
    Check(check::CheckArguments),
    /// Remove what an agent has left in force on this node; from then on every packet passes
    Detach(detach::DetachArguments),
    /// Switch the enforcement of this node off: every packet passes, and nothing is removed
    #[command(after_long_help = switch::OFF_HELP)]
    Off(switch::SwitchArguments),
    /// Switch the enforcement of this node on again
    #[command(after_long_help = switch::ON_HELP)]
    On(switch::SwitchArguments),
    /// Enforce the policies of a cluster, or of a folder of manifests, in this network namespace
    Run(Box<run::RunArguments>),
    /// Show the state of every pod and policy of this node
    Status(status::StatusArguments),
    /// Show how the programs decide about the packets of one pod, step by step
    Trace(trace::TraceArguments),
}

impl AgentCommand {
    /// Runs the command and returns its exit code.
    pub(crate) fn run(self) -> u8 {
        match self {
            Self::Check(arguments) => check::main(arguments),
            Self::Detach(arguments) => detach::main(&arguments),
            Self::Off(arguments) => switch::main(&arguments, true),
            Self::On(arguments) => switch::main(&arguments, false),
            Self::Run(arguments) => run::main(*arguments),
            Self::Status(arguments) => status::main(&arguments),
            Self::Trace(arguments) => trace::main(&arguments),
        }
    }
}
