//! `cargo xtask bench`: measurements, printed as tables.

use anyhow::Result;
use clap::Subcommand;

use xtask::command::{cargo, run as run_openly};

/// A benchmark.
#[derive(Clone, Copy, Subcommand)]
pub(crate) enum Benchmark {
    /// Measure time and memory of compiling a cluster for one node, by size of the cluster
    ///
    /// Takes about 20 seconds on 2 cores, and 2 minutes more to build it the first time.
    Compile,
}

/// Runs the benchmark with the optimisations of a release.
pub(crate) fn run(benchmark: Benchmark) -> Result<()> {
    let name = match benchmark {
        Benchmark::Compile => "compile",
    };
    run_openly(cargo().args(["bench", "--quiet", "--package", "policy-core", "--bench", name]))
}
