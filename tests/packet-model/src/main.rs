//! Compares the loaded programs with the model, for as many packets as asked.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use packet_model::model::NOT_HELD;
use packet_model::run::{Limits, run};

/// Compares the verdicts of the loaded programs with those of the model.
#[derive(Parser)]
struct Options {
    /// Packets to compare
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Seed of the generator; the same seed gives the same packets
    #[arg(long)]
    seed: Option<u64>,
    /// Disagreements after which to stop
    #[arg(long, default_value_t = 5)]
    most: usize,
    /// The object with the programs
    #[arg(long, default_value = "target/bpf/policy.o")]
    object: PathBuf,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether model and programs agree.
fn compare(options: &Options) -> Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seed = options.seed.unwrap_or(now);
    let limits = Limits { packets: options.count, disagreements: options.most };
    let mut shown = 0;
    let report = run(&options.object, seed, limits, |packets| {
        if packets >= shown + 1_000_000 {
            shown = packets;
            eprintln!("{packets} packets");
        }
    })?;
    for (before, case, found) in &report.disagreements {
        println!("after {before} packets, the last step: {found:?}\n{case}\n");
    }
    if !NOT_HELD.is_empty() {
        println!("not compared, because the programs do not hold them yet: {}", NOT_HELD.join(", "));
    }
    println!("{} packets passed, {} were left open", report.passed, report.open);
    println!(
        "{} packets, {:.1} s, seed {seed}, {} disagreements",
        report.packets,
        report.seconds,
        report.disagreements.len()
    );
    Ok(report.disagreements.is_empty())
}
