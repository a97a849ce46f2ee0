//! `cargo xtask bench`: measurements, printed as tables or JSON.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use xtask::bootstrap::{self, Purpose};
use xtask::bpf;
use xtask::command::{cargo, run as run_openly};

/// A benchmark.
#[derive(Clone, Subcommand)]
pub(crate) enum Benchmark {
    /// Measure time and memory of compiling a cluster for one node, by size of the cluster
    ///
    /// Takes about 20 seconds on 2 cores, and 2 minutes more to build it the first time.
    Compile,
    /// Measure what the programs cost a packet, held against look-ups of the same keys; needs root
    ///
    /// Every figure is the median of interleaved rounds, above an empty program. The exit code is 1 if
    /// a bound does not hold.
    #[command(after_help = "Examples:
  cargo xtask bench datapath
  cargo xtask bench datapath -o json | jq '.figures[] | select(.holds | not)'

Takes about a minute on 2 cores where the tests are built, and 5 minutes where nothing is. Figures are
nanoseconds; compare ratios, because a busy machine changes both sides of them.")]
    Datapath(Datapath),
    /// Measure time and memory of policyctl on large inputs, held against bounds
    ///
    /// The exit code is 1 if a bound does not hold.
    #[command(after_help = "Examples:
  cargo xtask bench policyctl
  cargo xtask bench policyctl --only diff -o json

Takes about 5 minutes on 2 cores, and 5 minutes more to build it the first time.")]
    Policyctl(Policyctl),
}

/// How to measure and print.
#[derive(Args, Clone, Copy)]
pub(crate) struct Datapath {
    /// Form of the result
    #[arg(short, long, default_value = "table")]
    output: Output,
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(9..))]
    rounds: u32,
}

/// What to measure of policyctl, and how to print.
#[derive(Args, Clone)]
pub(crate) struct Policyctl {
    /// Form of the result
    #[arg(short, long, default_value = "table")]
    output: Output,
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure the cases with this text in their name only
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
        }
    }
}

/// Runs the benchmark.
pub(crate) fn run(benchmark: Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Compile => run_openly(
            // With the optimisations of a release.
            cargo().args(["bench", "--package", "policy-core", "--bench", "compile"]),
        ),
        Benchmark::Datapath(options) => datapath(options),
        Benchmark::Policyctl(options) => policyctl(&options),
    }
}

/// The kernel measures its own time, so that the bench itself needs no optimisation.
fn datapath(options: Datapath) -> Result<()> {
    bpf::build(bootstrap::run(Purpose::Build)?)?;
    let output = options.output.name();
    let mut bench = cargo();
    bench.args(["bench", "--profile", "dev", "--package", "policy-ebpf"]);
    bench.args(["--bench", "datapath", "--", "--output", output]);
    run_openly(bench.args(["--rounds", &options.rounds.to_string()]))
}

/// With the optimisations of a release, in a process for each command.
fn policyctl(options: &Policyctl) -> Result<()> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "policyctl", "--bench", "cost", "--"]);
    bench.args(["--output", options.output.name(), "--rounds", &options.rounds.to_string()]);
    run_openly(bench.args(["--only", &options.only]))
}
