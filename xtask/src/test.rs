//! `cargo xtask test`: every check and every test, cheap ones first.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use xtask::bootstrap::{self, Purpose, packages, tools};
use xtask::bpf;
use xtask::command::{cargo, command, run};

use crate::{harness, manifests, tidy};

/// Runs the checks in order and stops at the first that fails.
///
/// `fast` leaves out what needs root, licences, spelling and documentation.
pub(crate) fn run_all(fast: bool) -> Result<()> {
    if !fast && !packages::is_root() {
        bail!(
            "the tests load programs into the kernel and make network namespaces, so they need root\n\
             run: sudo -E env PATH=\"$PATH\" cargo xtask test, or without those: cargo xtask test --fast"
        );
    }
    let purpose = if fast { Purpose::Build } else { Purpose::Test };
    let compiler = step("bootstrap", || bootstrap::run(purpose))?;
    step("formatting", || run(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", tidy::run)?;
    step("manifests", manifests::check)?;
    if !fast {
        step("spelling", || run(command(tools::TYPOS.ensure()?).args(["--config", "typos.toml"])))?;
        step("licences and sources", deny)?;
        step("chart and overlays", manifests::check_chart)?;
    }
    if !fast {
        step("another eBPF object", || bpf::build_other(compiler))?;
    }
    step("eBPF object", || bpf::build(compiler))?;
    step("clippy", clippy)?;
    if !fast {
        step("documentation", document)?;
    }
    if !fast {
        step("cluster", || harness::run("e2e", &["short"]))?;
    }
    step("tests", || test(fast))
}

fn step<T>(name: &str, check: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let start = Instant::now();
    let value = check().with_context(|| format!("{name} failed"))?;
    // The runner's own summary stays the last thing said.
    if name != "tests" {
        println!("   {name}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(value)
}

/// Advisories are left out: they need a database from the network.
fn deny() -> Result<()> {
    let deny = tools::CARGO_DENY.ensure()?;
    run(command(deny).args(["--workspace", "--locked", "check", "bans", "licenses", "sources"]))
}

/// `policy-ebpf` is checked as the host compiles it: Debian's compiler for BPF has no clippy.
fn clippy() -> Result<()> {
    run(cargo()
        .args(["clippy", "--workspace", "--all-targets", "--all-features"])
        .args(["--", "--deny", "warnings"]))
}

fn document() -> Result<()> {
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Examples in documentation first, so that the last summary is one of real tests.
fn test(fast: bool) -> Result<()> {
    let need_root = ["policy-agent", "policy-agent-bin", "policy-ebpf", "policy-lab"];
    let left_out: &[&str] = if fast { &need_root } else { &[] };
    for kind in ["--doc", "--tests"] {
        let mut tests = cargo();
        tests.args(["test", kind, "--workspace", "--no-fail-fast"]);
        for package in left_out {
            tests.args(["--exclude", package]);
        }
        run(&mut tests)?;
    }
    Ok(())
}
