//! What the programs cost, held against look-ups of the same keys: `cargo xtask bench datapath`.
//!
//! `BPF_PROG_TEST_RUN` runs a program many times on one packet. Every figure is what is above an empty
//! program; a round runs all of them one after the other, so that a busy machine disturbs all alike:
//!
//! ```text
//! round 1   empty 3.1 ns   LRU look-up 30.4 ns   known flow 41.0 ns   ratio 37.9 / 27.3 = 1.39
//! ```
//!
//! The median of all rounds counts. The exit code is 1 if a bound does not hold.

mod figures;
mod frames;
mod measure;
mod node;
mod programs;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// How to measure and print.
#[derive(Parser)]
struct Options {
    /// Form of the result
    #[arg(short, long, default_value = "table")]
    output: Output,
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(9..))]
    rounds: u32,
    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let measured = figures::measure(options.rounds)?;
    match options.output {
        Output::Table => measure::print_table(&measured),
        Output::Json => measure::print_json(&measured)?,
    }
    let holds = measured.iter().all(measure::Measured::holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
