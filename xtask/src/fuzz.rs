//! `cargo xtask fuzz`: the property tests of `policy-core` with many more cases.

use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use xtask::command::{cargo, command};

/// What to generate.
#[derive(Subcommand)]
pub(crate) enum Target {
    /// Hold the compiler against the naive evaluator, on every pair, protocol and port of a cluster
    Compile(Options),
    /// Hold every step of a plan against the state before and after it
    Plans(Options),
}

/// How much of it.
#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// How many clusters, or plans, to generate
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Where the generator starts; the same seed and count give the same cases
    #[arg(long)]
    seed: Option<u64>,
}

/// A module of the property tests.
struct Property {
    /// How the names of its tests begin.
    modules: &'static [&'static str],
    /// What is counted.
    unit: &'static str,
    /// How many of them one case of each of the module's tests makes.
    per_case: u64,
}

/// Cases between two signs of life. Each lot has a seed of its own, from which it can be repeated.
const LOT: u64 = 500;

/// Runs the tests, lot by lot, up to the first failure.
pub(crate) fn run(target: &Target) -> Result<()> {
    let (property, options) = match target {
        Target::Compile(options) => (
            Property { modules: &["compiled::", "incremental::"], unit: "clusters", per_case: 1 },
            options,
        ),
        // Three tests of three plans each.
        Target::Plans(options) => {
            (Property { modules: &["planned::"], unit: "plans", per_case: 9 }, options)
        }
    };
    let tests = build()?;
    let seed = options.seed.unwrap_or_else(seed_of_now);
    let cases = options.count.div_ceil(property.per_case);
    println!("{} {}, seed {seed}", cases * property.per_case, property.unit);
    let (start, ticks) = (Instant::now(), stderr().is_terminal());
    if matches!(target, Target::Compile(_)) {
        let large = Property { modules: &["large::"], unit: "", per_case: 1 };
        println!("{}", run_lot(&tests, &large, seed, 1)?);
    }
    for lot in 0..cases.div_ceil(LOT) {
        let (seed, first) = (seed.wrapping_add(lot), lot * LOT);
        let count = LOT.min(cases - first);
        run_lot(&tests, &property, seed, count)?;
        if ticks {
            let done = (first + count) * property.per_case;
            let line = format!("\r{done} {}, {} s", property.unit, start.elapsed().as_secs());
            // A closed stderr is no reason to stop.
            let _ = write!(stderr(), "{line}").and_then(|()| stderr().flush());
        }
    }
    if ticks {
        eprintln!();
    }
    println!("no failure in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Builds the tests once, so that edits of the sources do not disturb a long run.
fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["test", "--release", "--package", "policy-core", "--test", "properties"]);
    build.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let paths = said.split("\"executable\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let tests = paths.last().filter(|_| output.status.success());
    tests.map(PathBuf::from).context("the property tests do not build")
}

/// Shows what a lot says only if it fails: the shrunk case and the claim that it breaks.
/// Otherwise returns the lines with its measurements.
fn run_lot(tests: &Path, property: &Property, seed: u64, cases: u64) -> Result<String> {
    let mut lot = command(tests);
    lot.args(property.modules)
        .args(["--nocapture", "--test-threads", "1"])
        .env("PROPTEST_CASES", cases.to_string());
    let output = lot.env("PROPTEST_RNG_SEED", seed.to_string()).output();
    let output = output.with_context(|| format!("cannot start {}", tests.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        // A filter that fits no test would pass, too.
        anyhow::ensure!(
            !said.contains("running 0 tests"),
            "no test is called {:?}",
            property.modules
        );
        let told = said.lines().filter(|line| line.contains(" MiB"));
        let measured: Vec<_> = told.filter_map(|line| line.split(" ... ").last()).collect();
        return Ok(measured.join("\n"));
    }
    eprintln!("\n{said}{}", String::from_utf8_lossy(&output.stderr));
    let count = cases * property.per_case;
    bail!("a case failed; the same again: --seed {seed} --count {count}");
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}
