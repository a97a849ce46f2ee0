//! `cargo xtask e2e`: what the agent enforces on a real cluster, seen from inside of its pods.
//!
//! Each test starts a cluster of the package `testbed`, installs the image as an operator does, and
//! judges by what pods can reach. The exit code is 1 if a test fails.
#![forbid(unsafe_code)]

mod agents;
mod capabilities;
mod cluster;
mod examples;
mod install;
mod metrics;
mod netpol;
mod operator;
mod permissions;
mod plugin;
mod scale;
mod soak;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The nodes of a cluster that a test starts for itself.
const NODES: [&str; 2] = ["node1", "node2"];

/// Run the examples as real pods and policies, first without the agent, then with it
///
/// Each run starts a cluster of its own and removes it at the end; `--keep` leaves it.
/// The other tests are subcommands.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask e2e",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  cargo xtask e2e
  cargo xtask e2e three-tier node-port --cni bridge
  cargo xtask e2e --kubeconfig admin.conf      on kind: first load target/image.tar and target/pod-image.tar
  cargo xtask e2e netpol --proxy iptables

A time in parentheses is that of the test; building what is not built yet and starting the cluster
come before it, about 15 minutes on 2 cores, and once per machine about 30 more for Kubernetes."
)]
struct Arguments {
    #[command(flatten)]
    examples: examples::ExamplesOptions,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// The other tests, each on a cluster of its own.
#[derive(Subcommand)]
enum Verb {
    /// Run one example on a small cluster with the debug build, as `cargo xtask test` does (roughly 2
    /// minutes)
    Short,
    /// Check that the agent needs every capability that its manifest grants (about 2 minutes)
    Capabilities,
    /// Run the network-policy suite of upstream Kubernetes (about 25 minutes on 2 cores)
    Netpol(netpol::NetpolOptions),
    /// Check that an operator sees the denied flows of all nodes, and others see none (about 2 minutes)
    Operator(operator::OperatorOptions),
    /// Check that the agent needs every right that its manifest grants, and reports each missing one
    /// (roughly 4 minutes)
    Permissions(permissions::PermissionsOptions),
    /// Check that with the chained plugin policies apply to a pod's first packet, and without it do not
    /// (roughly 5 minutes)
    Plugin(plugin::PluginOptions),
    /// Count packets lost or let through while agents, API server and pods restart (about 40 minutes)
    #[command(after_help = "Examples:
  cargo xtask e2e soak
  cargo xtask e2e soak --kills 20 --away 60 --churn 200 --only kills --only away --only churn")]
    Soak(soak::SoakOptions),
    /// Measure the agent's memory, traffic and CPU time for each pod of a cluster (roughly 5 minutes
    /// for 10,000 pods, which is the default)
    #[command(after_help = "Example:
  cargo xtask e2e scale --pods 20000")]
    Scale(scale::ScaleOptions),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        None => examples::run(&arguments.examples),
        Some(Verb::Short) => examples::short(),
        Some(Verb::Capabilities) => capabilities::run(),
        Some(Verb::Netpol(options)) => netpol::run(&options),
        Some(Verb::Operator(options)) => operator::run(&options),
        Some(Verb::Permissions(options)) => permissions::run(&options),
        Some(Verb::Plugin(options)) => plugin::run(&options),
        Some(Verb::Soak(options)) => soak::run(&options),
        Some(Verb::Scale(options)) => scale::run(&options),
    }
}
