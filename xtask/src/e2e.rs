//! `cargo xtask e2e`: what is enforced on a real cluster, seen from inside of its pods.

mod capabilities;
pub(crate) mod examples;
mod install;
mod netpol;
mod soak;

use anyhow::Result;
use clap::Subcommand;

/// Which tests are run.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run the examples as real pods and policies, first without the agent, then with it
    #[command(after_help = "Examples:
  cargo xtask e2e examples
  cargo xtask e2e examples three-tier node-port --cni bridge
  cargo xtask e2e examples --kubeconfig admin.conf    on kind: first load target/image.tar and target/pod-image.tar")]
    Examples(examples::Options),
    /// Show that the agent needs every capability that its manifest gives it
    Capabilities,
    /// Run the suite of upstream Kubernetes for network policies, on a cluster of its own
    Netpol(netpol::Options),
    /// Count packets that are lost or let through while agents, API server and pods come and go
    #[command(after_help = "Examples:
  cargo xtask e2e soak
  cargo xtask e2e soak --kills 20 --away 60 --churn 200 --only kills --only away --only churn")]
    Soak(soak::Options),
}

/// Runs them.
pub(crate) fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Examples(options) => examples::run(&options),
        Verb::Capabilities => capabilities::run(),
        Verb::Netpol(options) => netpol::run(&options),
        Verb::Soak(options) => soak::run(&options),
    }
}
