//! `cargo xtask test`: every check and every test, cheap ones first.

use anyhow::{Result, bail};
use xtask::bootstrap::{self, Purpose, packages, tools};
use xtask::bpf;
use xtask::command::{cargo, command, run};
use xtask::progress::Steps;

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
    let (purpose, count) = if fast { (Purpose::Build, 8) } else { (Purpose::Test, 15) };
    let mut steps = Steps::new(count);
    let compiler = steps.run("bootstrap", || bootstrap::run(purpose))?;
    steps.run("formatting", || run(cargo().args(["fmt", "--all", "--check"])))?;
    steps.run("tidy", tidy::run)?;
    steps.run("manifests", manifests::check)?;
    if !fast {
        let typos = || run(command(tools::TYPOS.ensure()?).args(["--config", "typos.toml"]));
        steps.run("spelling", typos)?;
        steps.run("licences and sources", deny)?;
        steps.run("chart and overlays", manifests::check_chart)?;
        steps.run("alert rules", manifests::check_alerts)?;
        steps.run("second eBPF object, for the tests of an upgrade", || {
            bpf::build_other(compiler)
        })?;
    }
    steps.run("eBPF object", || bpf::build(compiler))?;
    steps.run("clippy", clippy)?;
    if !fast {
        steps.run("documentation", document)?;
        steps.run("example on a cluster", || harness::run("e2e", &["short"]))?;
    }
    steps.run("tests in documentation", || test("--doc", fast))?;
    // The summary of the test runner stays the last line.
    steps.run_last("tests", || test("--tests", fast))
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

/// Runs the tests of one kind; `fast` leaves out the packages that have tests which need root.
fn test(kind: &str, fast: bool) -> Result<()> {
    let need_root =
        ["packet-model", "policy-agent", "policy-agent-bin", "policy-ebpf", "policy-lab"];
    let left_out: &[&str] = if fast { &need_root } else { &[] };
    let mut tests = cargo();
    tests.args(["test", kind, "--workspace", "--no-fail-fast"]);
    for package in left_out {
        tests.args(["--exclude", package]);
    }
    run(&mut tests)
}
