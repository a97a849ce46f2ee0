//! Compares the loaded programs with the model, for as many packets as asked.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use packet_model::rig::Rig;
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
    let mut rig = Rig::load(&options.object, true)?;
    let report = run(&mut rig, seed, limits, |packets| {
        if packets >= shown + 1_000_000 {
            shown = packets;
            eprintln!("{packets} packets");
        }
    })?;
    println!("{report}");
    Ok(report.disagreements.is_empty())
}
