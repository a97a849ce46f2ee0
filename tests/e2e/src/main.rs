//! `cargo xtask e2e`: what is enforced on a real cluster, seen from inside of its pods.

mod agents;
mod api;
mod capabilities;
pub(crate) mod examples;
mod install;
mod metrics;
mod netpol;
mod permissions;
mod plugin;
mod scale;
mod soak;

use anyhow::Result;
use clap::{Args, Subcommand};

/// What is run: the examples, where nothing else is said.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Run {
    #[command(flatten)]
    examples: examples::Options,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Other runs, each on a cluster of its own.
#[derive(Subcommand)]
enum Verb {
    /// Show that the agent needs every capability that its manifest gives it
    Capabilities,
    /// Run the suite of upstream Kubernetes for network policies
    Netpol(netpol::Options),
    /// Show that the agent needs every right that its manifest gives it, and tells of each it lacks
    Permissions(permissions::Options),
    /// Show that a pod's first act is under its policies where the chained plugin is, and not without
    Plugin(plugin::Options),
    /// Count packets that are lost or let through while agents, API server and pods come and go
    #[command(after_help = "Examples:
  cargo xtask e2e soak
  cargo xtask e2e soak --kills 20 --away 60 --churn 200 --only kills --only away --only churn")]
    Soak(soak::Options),
    /// Measure what the agent holds, receives and spends for each pod of a cluster
    #[command(after_help = "Example:
  cargo xtask e2e scale --pods 20000")]
    Scale(scale::Options),
}

/// Runs them.
pub(crate) fn run(run: Run) -> Result<()> {
    match run.verb {
        None => examples::run(&run.examples),
        Some(Verb::Capabilities) => capabilities::run(),
        Some(Verb::Netpol(options)) => netpol::run(&options),
        Some(Verb::Permissions(options)) => permissions::run(&options),
        Some(Verb::Plugin(options)) => plugin::run(&options),
        Some(Verb::Soak(options)) => soak::run(&options),
        Some(Verb::Scale(options)) => scale::run(&options),
    }
}
