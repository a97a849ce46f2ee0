//! `cargo xtask e2e netpol`: runs the network-policy suite of upstream Kubernetes.
//!
//! The suite and its server are compiled from the Go modules of Kubernetes, as no image can be
//! fetched. Its verdicts are printed; the whole output is in `target/netpol-….log`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use testbed::images;
use testbed::layout::Layout;
use testbed::network;
use testbed::programs::{self, Suite};
use xtask::build::Profile;
use xtask::command::{answer, command, workspace};

use super::cluster::TestCluster;
use super::install;

/// Tests that are left out: a kernel may lack SCTP sockets, and the IPv6 tests need a cluster with
/// IPv6 as its first family.
const SKIP: &str = "SCTP|IPv6";

/// How the suite is run.
#[derive(Args, Debug)]
pub(crate) struct NetpolOptions {
    #[command(flatten)]
    cluster: testbed::Shape,
    /// Run only tests with a name that matches this regular expression
    #[arg(long, value_name = "REGEX", default_value = "Netpol")]
    focus: String,
    /// Run without the agent: nothing is denied, and the suite must fail
    #[arg(long)]
    without_agent: bool,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// Runs the suite on a cluster of its own.
pub(super) fn run(options: &NetpolOptions) -> Result<()> {
    let layout = Layout::of(&name(options));
    let suite = programs::suite()?;
    testbed::up(&layout, &options.cluster)?;
    let outcome = on(&layout, &suite, options);
    if !options.keep {
        testbed::down(&layout)?;
    }
    outcome
}

fn on(layout: &Layout, suite: &Suite, options: &NetpolOptions) -> Result<()> {
    for image in &suite.images {
        testbed::load(layout, &images::agnhost(layout, suite, image)?)?;
    }
    if !options.without_agent {
        install::load(layout, Profile::Release)?;
        let took = install::agent(&TestCluster::local(layout)?)?;
        println!("agent ready after {:.1} s", took.as_secs_f64());
    }
    println!("{}, {:?}, {:?}", versions()?, options.cluster.proxy, options.cluster.cni);
    let mut tests = network::inside(layout, network::CONTROL);
    tests.arg(&suite.tests).arg("--kubeconfig").arg(layout.kubeconfig("admin"));
    tests.args(["--provider", "skeleton", "--node-os-distro", "debian"]);
    tests.arg(format!("--ginkgo.focus={}", options.focus));
    tests.arg(format!("--ginkgo.skip={SKIP}")).args(["--ginkgo.no-color", "--ginkgo.v"]);
    let log = workspace().join("target").join(name(options)).with_extension("log");
    follow(&mut tests, &log)
}

/// Name of the cluster and of the log: runs with different options can run at the same time.
fn name(options: &NetpolOptions) -> String {
    let testbed::Shape { proxy, cni, .. } = &options.cluster;
    format!("netpol-{proxy:?}-{cni:?}").to_lowercase()
}

/// The versions that the result depends on.
pub(super) fn versions() -> Result<String> {
    let first = |program: &str, option: &str| {
        let text = answer(command(program).arg(option)).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let kernel = answer(command("uname").arg("-r")).unwrap_or_default();
    let (runtime, kubernetes) = (first("containerd", "--version"), programs::version()?);
    Ok(format!("Kubernetes {kubernetes}, Linux {kernel}, {runtime}, {}", first("nft", "--version")))
}

/// Runs the suite; shows its verdicts, and writes everything into a file.
fn follow(tests: &mut Command, path: &Path) -> Result<()> {
    let mut log = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut child = tests.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(log, "{line}")?;
        let shown = ["[sig-", "• [", "Ran ", "SUCCESS!", "FAIL!", "  [FAIL]", "Summarizing"];
        if shown.iter().any(|start| line.starts_with(start)) {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the suite failed ({status}); see {}", path.display());
    }
    Ok(())
}
