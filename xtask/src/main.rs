//! Verbs that build, test and show the project: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod flap;
mod fuzz;
mod harness;
mod manifests;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::bootstrap::{self, Purpose};
use xtask::build::{self, AGENT, CNI, CTL};
use xtask::{bpf, image};

/// Builds, tests and shows the project.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "Examples:
  cargo xtask demo                 show the three-tier example, enforced by this machine's kernel
  cargo xtask test                 check and test everything, as root
  cargo xtask test --fast          the same without what needs root
  cargo xtask build                build policy-agent and policyctl in target/release

Each verb first installs what it needs and the machine lacks."
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the machine lacks, and do nothing else
    Bootstrap,
    /// Build the eBPF object, target/bpf/policy.o, and for the tests of an upgrade another, policy-v2.o
    Bpf,
    /// Build target/release/policy-agent, the eBPF object inside it, and target/release/policyctl
    Build {
        /// Build them in target/debug: builds faster, runs slower
        #[arg(long)]
        debug: bool,
    },
    /// Check formatting, conventions, spelling, licences and lints, then run all tests
    Test {
        /// Only formatting, conventions, lints, and the tests that do not need root
        #[arg(long)]
        fast: bool,
    },
    /// Run the lab on the three-tier example and print its truth table
    #[command(after_help = "Examples:
  cargo xtask demo
  cargo xtask demo -- --topology bridge
  cargo xtask demo -- -o json")]
    Demo {
        /// Further options for `policy-agent lab`
        #[arg(last = true)]
        options: Vec<OsString>,
    },
    /// Try many generated clusters, and tell the smallest that breaks a property
    #[command(after_help = "Examples:
  cargo xtask fuzz compile --count 20000
  cargo xtask fuzz plans --count 100000 --seed 7")]
    Fuzz {
        #[command(subcommand)]
        target: fuzz::Target,
    },
    /// Swap two policies on the kernel at full speed: no packet may meet a third state
    #[command(after_help = "Example:
  cargo xtask flap --count 10000

Takes about a quarter of an hour on two CPUs, and all of both.")]
    Flap(flap::Options),
    /// Measure, and print a table
    Bench {
        #[command(subcommand)]
        target: bench::Target,
    },
    /// Build an image of the agent and its CNI plugin, target/image.tar, without a container engine
    #[command(after_help = "Examples:
  cargo xtask image && kind load image-archive target/image.tar
  cargo xtask image && ctr -n k8s.io images import target/image.tar")]
    Image,
    /// Run a real Kubernetes on this machine, in namespaces: `cargo xtask cluster --help`
    #[command(disable_help_flag = true)]
    Cluster(PassedOn),
    /// Run the end-to-end tests on a real cluster: `cargo xtask e2e --help`
    #[command(disable_help_flag = true)]
    E2e(PassedOn),
    /// Render manifests/install.yaml from manifests/base, and hold the chart and the overlays against it
    Manifests,
    /// Check the conventions that the compiler and clippy do not
    Tidy,
}

/// A verb of another package's program, which has its own `--help`.
#[derive(Args)]
struct PassedOn {
    /// What the program receives; `--help` lists its options
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Bootstrap => bootstrap::run(Purpose::Test).map(drop),
        Verb::Bpf => {
            let compiler = bootstrap::run(Purpose::Build)?;
            bpf::build_other(compiler)?;
            bpf::build(compiler).map(drop)
        }
        Verb::Build { debug } => build::build(Purpose::Build, &[AGENT, CNI, CTL], debug).map(drop),
        Verb::Test { fast } => test::run_all(fast),
        Verb::Demo { options } => demo::run(options),
        Verb::Fuzz { target } => fuzz::run(&target),
        Verb::Flap(options) => {
            bpf::build(bootstrap::run(Purpose::Test)?)?;
            flap::run(options)
        }
        Verb::Bench { target } => bench::run(target),
        Verb::Image => image::build(image::Build::Release).map(drop),
        Verb::Cluster(passed) => harness::exec("testbed", &passed.arguments),
        Verb::E2e(passed) => harness::exec("e2e", &passed.arguments),
        Verb::Manifests => manifests::write().and_then(|()| manifests::check_chart()),
        Verb::Tidy => tidy::run(),
    }
}
