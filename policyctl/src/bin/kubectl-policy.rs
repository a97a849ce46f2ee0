//! The same program as `policyctl`, under the name that kubectl looks for (`kubectl policy …`).
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    policyctl::main()
}
