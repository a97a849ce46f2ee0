//! `cargo xtask bench`: measurements, printed as tables or JSON.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use xtask::bootstrap::{self, Purpose};
use xtask::bpf;
use xtask::command::{cargo, run as run_openly};

/// A benchmark.
#[derive(Clone, Copy, Subcommand)]
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

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs the benchmark.
pub(crate) fn run(benchmark: Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Compile => run_openly(
            // With the optimisations of a release.
            cargo().args(["bench", "--package", "policy-core", "--bench", "compile"]),
        ),
        Benchmark::Datapath(options) => datapath(options),
    }
}

/// The kernel measures its own time, so that the bench itself needs no optimisation.
fn datapath(options: Datapath) -> Result<()> {
    bpf::build(bootstrap::run(Purpose::Build)?)?;
    let output = match options.output {
        Output::Table => "table",
        Output::Json => "json",
    };
    let mut bench = cargo();
    bench.args(["bench", "--profile", "dev", "--package", "policy-ebpf"]);
    bench.args(["--bench", "datapath", "--", "--output", output]);
    run_openly(bench.args(["--rounds", &options.rounds.to_string()]))
}
