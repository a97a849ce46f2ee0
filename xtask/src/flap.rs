//! `cargo xtask flap`: two policies swapped while packets run at full speed on every CPU.

use anyhow::Result;
use clap::Args;

use xtask::command::{self, cargo};

/// How many exchanges to make.
#[derive(Args, Clone, Copy)]
pub(crate) struct FlapOptions {
    /// How many times one policy replaces the other
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

/// Runs the agent's test that swaps them; it prints how many packets passed and were dropped.
pub(crate) fn run(options: FlapOptions) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--release", "--package", "policy-agent-bin", "--test", "daemon"]);
    test.args(["flap::", "--", "--nocapture"]);
    command::run(test.env("POLICY_FLAP_COUNT", options.count.to_string()))
}
