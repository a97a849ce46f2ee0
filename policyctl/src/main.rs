//! Tries network policies on any machine.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    policyctl::main()
}
