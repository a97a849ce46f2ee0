//! How long compiling takes, what of it stays in memory, and how both grow.

mod cluster;
mod memory;
mod relabel;

use std::time::{Duration, Instant};

use policy_core::compile::{Scope, compile};

use cluster::Size;

/// Compilations per size; the median counts.
const RUNS: usize = 5;

fn main() {
    println!(
        "{:>8} {:>6} {:>10} {:>8} {:>8} {:>8} {:>12} {:>12}",
        "pods", "nodes", "namespaces", "policies", "ms", "worst", "snapshot MB", "compiled MB"
    );
    for pods in [1_000, 10_000, 25_000, 50_000, 100_000] {
        measure(&sized(pods));
    }
    println!("\none pod's labels change, in ms");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "pods", "policies", "p50", "p99", "worst", "kept"
    );
    for pods in [1_000, 10_000, 25_000] {
        relabel::measure(&sized(pods));
    }
}

fn sized(pods: usize) -> Size {
    Size { pods, nodes: pods / 20, namespaces: pods / 100, policies: pods / 10 }
}

/// Compiles for the node of 110 pods, as the daemon does.
fn measure(size: &Size) {
    let empty = memory::live();
    let snapshot = size.snapshot();
    let held = memory::live();
    let mut times: Vec<Duration> = Vec::new();
    let mut kept = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        let compiled = compile(&snapshot, Scope::Node("n0"));
        times.push(start.elapsed());
        kept = memory::live() - held;
        assert_eq!(compiled.0.endpoints.len(), size.local());
    }
    times.sort();
    println!(
        "{:>8} {:>6} {:>10} {:>8} {:>8.1} {:>8.1} {:>12.1} {:>12.1}",
        size.pods,
        size.nodes,
        size.namespaces,
        size.policies,
        milliseconds(times[RUNS / 2]),
        milliseconds(times[RUNS - 1]),
        megabytes(held - empty),
        megabytes(kept),
    );
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
