//! How long compiling takes, what of it stays in memory, and how both grow.

mod cluster;
mod memory;
mod relabel;

use std::time::{Duration, Instant};

use policy_core::compile::{Compiler, Scope, compile};

use cluster::Size;

/// Compilations per size; the median counts.
const RUNS: usize = 5;

fn main() {
    println!(
        "{:>8} {:>6} {:>10} {:>8} {:>8} {:>8} {:>12} {:>10} {:>10}",
        "pods",
        "nodes",
        "namespaces",
        "policies",
        "ms",
        "worst",
        "snapshot MB",
        "kept MB",
        "bytes/pod"
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

/// Compiles for the node of 110 pods, as the daemon does. Kept is all that a compiler that stays
/// holds, its snapshot included.
fn measure(size: &Size) {
    let empty = memory::live();
    let snapshot = size.snapshot();
    let read = memory::live() - empty;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let compiled = compile(&snapshot, Scope::Node("n0"));
        times.push(start.elapsed());
        assert_eq!(compiled.0.endpoints.len(), size.local());
    }
    times.sort();
    let compiler = Compiler::new(snapshot, Scope::Node("n0"));
    let kept = memory::live() - empty;
    assert_eq!(compiler.compiled().0.endpoints.len(), size.local());
    println!(
        "{:>8} {:>6} {:>10} {:>8} {:>8.1} {:>8.1} {:>12.1} {:>10.1} {:>10}",
        size.pods,
        size.nodes,
        size.namespaces,
        size.policies,
        milliseconds(times[RUNS / 2]),
        milliseconds(times[RUNS - 1]),
        megabytes(read),
        megabytes(kept),
        kept / size.pods,
    );
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
