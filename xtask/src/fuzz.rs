//! `cargo xtask fuzz`: the property tests of `policy-core` with many more cases, and the programs
//! beside their model with many more packets.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use xtask::bootstrap::{self, Purpose};
use xtask::bpf;
use xtask::command::{built, cargo, command, workspace};
use xtask::progress::Progress;

use crate::harness;

/// The property to check.
#[derive(Subcommand)]
pub(crate) enum Property {
    /// Compare the compiler with a naive evaluator, on every pair, protocol and port of a cluster
    ///
    /// A thousand clusters take about 3 minutes of one core, so that the default takes an hour.
    /// Building the test takes about 3 minutes on 2 cores.
    Compile(FuzzOptions),
    /// Compare every step of a plan with the state before the plan and the state after it
    ///
    /// The default takes about a minute and a half of one core. Building the test takes about 3
    /// minutes on 2 cores.
    Plans(FuzzOptions),
    /// Compare the loaded programs with a model of the datapath, on generated packets; needs root
    ///
    /// A disagreement is printed as a test that replays it. The last line has packets, seconds,
    /// seed and disagreements. A million packets, which is the default, take about half a minute of
    /// one core.
    Packets(Packets),
}

/// How many packets to generate.
#[derive(Args, Clone, Copy)]
pub(crate) struct Packets {
    /// Number of packets
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Seed of the generator; the same seed gives the same packets
    #[arg(long)]
    seed: Option<u64>,
}

/// How many cases to generate.
#[derive(Args, Clone, Copy)]
pub(crate) struct FuzzOptions {
    /// Number of clusters, or of plans
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Seed of the generator; the same seed and count give the same cases
    #[arg(long)]
    seed: Option<u64>,
}

/// The tests of a property in `policy-core/tests/properties`.
struct Tests {
    /// Start of the tests' names.
    modules: &'static [&'static str],
    /// What is counted.
    unit: &'static str,
    /// How many of them one case of each test makes.
    per_case: u64,
}

/// Cases in one run of the test program. Each lot has its own seed, by which it can be repeated.
const LOT: u64 = 500;

/// Runs the tests of a property, lot by lot, until all cases have passed or one fails.
pub(crate) fn run(property: &Property) -> Result<()> {
    let (tests, options) = match property {
        Property::Compile(options) => (
            Tests { modules: &["compiled::", "incremental::"], unit: "clusters", per_case: 1 },
            options,
        ),
        // Three tests of three plans each.
        Property::Plans(options) => {
            (Tests { modules: &["planned::"], unit: "plans", per_case: 9 }, options)
        }
        Property::Packets(packets) => return compare_packets(*packets),
    };
    let program = build()?;
    let seed = options.seed.unwrap_or_else(seed_of_now);
    let cases = options.count.div_ceil(tests.per_case);
    println!("{} {}, seed {seed}", cases * tests.per_case, tests.unit);
    if matches!(property, Property::Compile(_)) {
        let large = Tests { modules: &["large::"], unit: "", per_case: 1 };
        println!("{}", run_lot(&program, &large, seed, 1)?);
    }
    let mut progress = Progress::start("checking", Some(cases * tests.per_case));
    for lot in 0..cases.div_ceil(LOT) {
        let (seed, first) = (seed.wrapping_add(lot), lot * LOT);
        let count = LOT.min(cases - first);
        run_lot(&program, &tests, seed, count)?;
        progress.advance(count * tests.per_case, tests.unit);
        progress.tick();
    }
    progress.end("no failure");
    Ok(())
}

/// Builds the object, and compares its programs with the model.
fn compare_packets(packets: Packets) -> Result<()> {
    bpf::build(bootstrap::run(Purpose::Test)?)?;
    let seed = packets.seed.unwrap_or_else(seed_of_now);
    let object = workspace().join("target/bpf/policy.o").into_os_string();
    let (count, seed) = (packets.count.to_string().into(), seed.to_string().into());
    let arguments = ["--count".into(), count, "--seed".into(), seed, "--object".into(), object];
    harness::exec("packet-model", &arguments)
}

/// Builds the tests once, so that edits of the sources do not disturb a long run.
fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["test", "--release", "--package", "policy-core", "--test", "properties"]);
    build.arg("--no-run");
    built(&mut build)?.pop().map(|(_, path)| path).context("cargo built no property tests")
}

/// Runs one lot and returns the lines with its measurements.
///
/// If it fails, its output is shown: the smallest case that fails, and the claim that it breaks.
fn run_lot(program: &Path, tests: &Tests, seed: u64, cases: u64) -> Result<String> {
    let mut lot = command(program);
    lot.args(tests.modules)
        .args(["--nocapture", "--test-threads", "1"])
        .env("PROPTEST_CASES", cases.to_string());
    let output = lot.env("PROPTEST_RNG_SEED", seed.to_string()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        eprintln!("\n{text}{}", String::from_utf8_lossy(&output.stderr));
        let count = cases * tests.per_case;
        bail!("a case failed; to repeat it: --seed {seed} --count {count}");
    }
    // A filter that matches no test would pass, too.
    ensure!(!text.contains("running 0 tests"), "no test is called {:?}", tests.modules);
    let with_sizes = text.lines().filter(|line| line.contains(" MiB"));
    let measured: Vec<_> = with_sizes.filter_map(|line| line.split(" ... ").last()).collect();
    Ok(measured.join("\n"))
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}
