//! Verbs that build, test and show the project: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod flap;
mod fuzz;
mod harness;
mod kernels;
mod manifests;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::bootstrap::{self, Purpose};
use xtask::build::{self, AGENT, CNI, CTL, Profile};
use xtask::{bpf, image};

/// Builds, tests and shows the project.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "Examples:
  cargo xtask demo                 show the three-tier example, enforced by this machine's kernel
  cargo xtask test                 run all checks and all tests, as root
  cargo xtask test --fast          run those that do not need root
  cargo xtask build                build policy-agent, policy-cni and policyctl in target/release

Each verb first installs what it needs and the machine lacks."
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the machine lacks (about 10 minutes on a new machine with 2 cores)
    Bootstrap,
    /// Build the eBPF objects in target/bpf: policy.o, policy-trace.o for `policy-agent trace`, and
    /// policy-v2.o for the tests of an upgrade
    ///
    /// Takes about 2 minutes on 2 cores, and 2 minutes more the first time on a machine.
    Bpf,
    /// Build policy-agent, policy-cni and policyctl in target/release
    ///
    /// Takes about 10 minutes on 2 cores where nothing is built yet.
    Build {
        /// Build them in target/debug: builds faster, runs slower
        #[arg(long)]
        debug: bool,
    },
    /// Check formatting, conventions, spelling, licences and lints, then run all tests
    ///
    /// Needs root. Takes about 30 minutes on 2 cores, and as long again the first time on a machine,
    /// to compile a Kubernetes.
    #[command(args_conflicts_with_subcommands = true)]
    Test {
        /// Run only the checks and tests that do not need root
        #[arg(long)]
        fast: bool,
        #[command(subcommand)]
        part: Option<TestPart>,
    },
    /// Run the lab on the three-tier example and print its truth table
    ///
    /// Builds only the lab, without the agent's client of Kubernetes. Needs root. Takes about 7
    /// minutes on 2 cores where nothing is built yet, and 20 seconds where the lab is.
    #[command(after_help = "Examples:
  cargo xtask demo
  cargo xtask demo -- --topology bridge
  cargo xtask demo -- -o json")]
    Demo {
        /// Further options for `policy-agent lab`
        #[arg(last = true)]
        options: Vec<OsString>,
    },
    /// Check the compiler or the programs on many generated cases; print the smallest that fails
    ///
    /// From half a minute to an hour by the property and the count: `cargo xtask fuzz PROPERTY --help`.
    #[command(after_help = "Examples:
  cargo xtask fuzz compile --count 20000
  cargo xtask fuzz plans --count 100000 --seed 7
  cargo xtask fuzz packets --count 10000000")]
    Fuzz {
        #[command(subcommand)]
        property: fuzz::Property,
    },
    /// Swap two policies in the kernel at full speed, and check that no packet meets a third state
    #[command(after_help = "Example:
  cargo xtask flap --count 10000

Takes about 15 minutes on 2 cores and uses both completely.")]
    Flap(flap::FlapOptions),
    /// Run a benchmark and print its table (a minute, and up to 5 more to build it the first time)
    Bench {
        #[command(subcommand)]
        benchmark: bench::Benchmark,
    },
    /// Build the image of the agent and its CNI plugin, target/image.tar, without a container engine
    #[command(after_help = "Examples:
  cargo xtask image && kind load image-archive target/image.tar
  cargo xtask image && ctr -n k8s.io images import target/image.tar

The agent of the image has no lab. Dependencies are compiled once for this verb and for `build`.
Takes about 10 minutes on 2 cores where nothing is built yet.")]
    Image,
    /// Run a real Kubernetes on this machine, in namespaces: `cargo xtask cluster --help`
    #[command(disable_help_flag = true)]
    Cluster(ForwardedArguments),
    /// Run the end-to-end tests on a real cluster: `cargo xtask e2e --help`
    #[command(disable_help_flag = true)]
    E2e(ForwardedArguments),
    /// Render manifests/install.yaml from manifests/base, and compare the chart and the overlays with it
    ///
    /// Takes a few seconds, and a minute the first time on a machine, to get kustomize and helm.
    Manifests,
    /// Check the conventions that the compiler and clippy do not check (a second)
    Tidy,
}

/// A part of the tests that the verb does not run by itself.
#[derive(Subcommand)]
enum TestPart {
    /// Boot other kernels in an emulator, run tests on each, and print a table
    #[command(after_help = "Examples:
  cargo xtask test kernels
  cargo xtask test kernels 6.1 newest

Needs root, network access to Debian's archive, and 5 to 15 minutes a kernel.")]
    Kernels(kernels::KernelsOptions),
}

/// A verb of another package's program, which has its own `--help`.
#[derive(Args)]
struct ForwardedArguments {
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
        Verb::Build { debug } => {
            let profile = if debug { Profile::Debug } else { Profile::Release };
            build::build(Purpose::Build, &[AGENT, CNI, CTL], profile).map(drop)
        }
        Verb::Test { part: Some(TestPart::Kernels(options)), .. } => kernels::run(&options),
        Verb::Test { fast, part: None } => test::run_all(fast),
        Verb::Demo { options } => demo::run(options),
        Verb::Fuzz { property } => fuzz::run(&property),
        Verb::Flap(options) => {
            bpf::build(bootstrap::run(Purpose::Test)?)?;
            flap::run(options)
        }
        Verb::Bench { benchmark } => bench::run(benchmark),
        Verb::Image => image::build(Profile::Release).map(drop),
        Verb::Cluster(passed) => harness::exec("testbed", &passed.arguments),
        Verb::E2e(passed) => harness::exec("e2e", &passed.arguments),
        Verb::Manifests => manifests::write().and_then(|()| manifests::check_chart()),
        Verb::Tidy => tidy::run(),
    }
}
