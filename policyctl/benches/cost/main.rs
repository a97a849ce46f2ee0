//! What `policyctl` costs on large inputs, in time and memory: `cargo xtask bench policyctl`.
//!
//! Each case is a generated input and a command with bounds. The program runs as a process of its own,
//! in the profile of a release, and its output is thrown away. The median of the rounds counts for
//! time, and the most for memory. The exit code is 1 if a bound does not hold.

mod input;
mod measure;

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
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure the cases with this text in their name only
    #[arg(long, default_value = "")]
    only: String,
    /// Run one command and print what it cost; for the bench itself
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    run: Vec<String>,
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
    if !options.run.is_empty() {
        measure::run_alone(&options.run)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = tempfile::tempdir()?;
    let mut measured = Vec::new();
    for case in input::cases(folder.path())? {
        if case.name.contains(&options.only) {
            measured.extend(measure::measure(&case, options.rounds)?);
        }
    }
    match options.output {
        Output::Table => measure::print_table(&measured),
        Output::Json => measure::print_json(&measured)?,
    }
    let holds = measured.iter().all(measure::Figure::holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
