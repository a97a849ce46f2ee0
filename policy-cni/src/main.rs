//! The chained CNI plugin of the network-policy dataplane.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use policy_cni::Output;

fn main() -> ExitCode {
    let Output { stdout, stderr, code } =
        policy_cni::run(|name| std::env::var_os(name), io::stdin());
    // A runtime that closed standard error still gets the result on standard output.
    let _ = io::stderr().write_all(stderr.as_bytes());
    match io::stdout().write_all(stdout.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}
