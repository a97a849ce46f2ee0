//! The node agent of the network-policy dataplane.

use std::process::ExitCode;

fn main() -> ExitCode {
    policy_agent::cli::main()
}
