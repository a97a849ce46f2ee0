//! Runs a command and reads what it cost.

use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use serde_json::json;

use crate::input::Case;

/// A measured figure beside its bound.
#[derive(Serialize)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    /// Not held against another figure, as those of the other benches are.
    reference: Option<f64>,
    ratio: Option<f64>,
    bound: f64,
    holds: bool,
}

impl Figure {
    fn new(name: &str, unit: &'static str, mut values: Vec<f64>, bound: f64) -> Self {
        values.sort_by(f64::total_cmp);
        let (min, median) = (values[0], values[values.len() / 2]);
        let max = values[values.len() - 1];
        Self {
            name: name.to_owned(),
            unit,
            median,
            min,
            max,
            reference: None,
            ratio: None,
            bound,
            holds: median <= bound,
        }
    }

    /// Whether it is within its bound.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }
}

/// Time and memory of a case.
pub(crate) fn measure(case: &Case, rounds: u32) -> Result<[Figure; 2]> {
    let (mut seconds, mut megabytes) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (time, memory) = cost(&case.arguments).with_context(|| case.name.clone())?;
        seconds.push(time);
        megabytes.push(memory);
    }
    let (most_seconds, most_megabytes) = case.bounds;
    Ok([
        Figure::new(&case.name, "s", seconds, most_seconds),
        Figure::new(&case.name, "MB", megabytes, most_megabytes),
    ])
}

/// Seconds and megabytes of one run. The kernel keeps the peak of all children of a process, so that a
/// copy of this bench is the parent of each run.
fn cost(arguments: &[String]) -> Result<(f64, f64)> {
    let bench = env::current_exe()?;
    let output = Command::new(bench).arg("--run").args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    let values: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    match values.as_deref() {
        Ok([seconds, megabytes]) => Ok((*seconds, *megabytes)),
        _ => bail!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Runs the program once, and prints seconds and megabytes.
pub(crate) fn run_alone(arguments: &[String]) -> Result<()> {
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_policyctl"));
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let seconds = start.elapsed().as_secs_f64();
    // 1 means findings.
    if !matches!(status.code(), Some(0 | 1)) {
        bail!("policyctl ended with {status}");
    }
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{seconds} {}", f64::from(u32::try_from(kilobytes)?) / 1e3);
    Ok(())
}

/// Prints the figures for people.
pub(crate) fn print_table(figures: &[Figure]) {
    println!("{:<48} {:>8} {:>8} {:>8} {:>8}  HOLDS", "FIGURE", "MEDIAN", "MIN", "MAX", "BOUND");
    for Figure { name, unit, median, min, max, bound, holds, .. } in figures {
        let name = format!("{name}, {unit}");
        let holds = if *holds { "yes" } else { "no" };
        println!("{name:<48} {median:>8.2} {min:>8.2} {max:>8.2} {bound:>8.0}  {holds}");
    }
}

/// Prints the figures for programs.
pub(crate) fn print_json(figures: &[Figure]) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&json!({ "figures": figures }))?);
    Ok(())
}
