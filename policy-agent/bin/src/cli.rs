//! The agent's commands: `detach`, `run` and `status`.
//!
//! Each module parses the options of one command, runs it and returns its exit code.

mod cni;
mod detach;
mod listen;
mod run;
mod status;

use clap::Subcommand;

/// Default of `--pin-dir`.
const PIN_DIR: &str = "/sys/fs/bpf/policy";

/// A command and its options.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Remove what an agent has left in force on this node; from then on every packet passes
    Detach(detach::DetachArguments),
    /// Enforce the policies of a cluster, or of a folder of manifests, in this network namespace
    Run(Box<run::RunArguments>),
    /// Show the state of every pod and policy of this node
    Status(status::StatusArguments),
}

impl AgentCommand {
    /// Runs the command and returns its exit code.
    pub(crate) fn run(self) -> u8 {
        match self {
            Self::Detach(arguments) => detach::main(&arguments),
            Self::Run(arguments) => run::main(*arguments),
            Self::Status(arguments) => status::main(&arguments),
        }
    }
}
