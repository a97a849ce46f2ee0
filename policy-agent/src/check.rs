//! Whether a node can run the agent, and what to do where it cannot: `policy-agent check`.
//!
//! Input: the node that the command runs on, in its network namespace. Output: one [`NodeCheck`] for each
//! condition, always in the same order, also for those that hold. Nothing is changed.
//!
//! ```text
//! kernel      ok       Linux 6.12.3: programs are attached by TCX links
//! bpffs       failed   /sys/fs/bpf is no bpffs    mount -t bpf bpf /sys/fs/bpf
//! enforcers   warning  kindnet (table …)          disable one of the two
//! ```

mod kernel;
mod network;

use std::path::PathBuf;

use serde::Serialize;

/// What the checks depend on: the options that `policy-agent run` will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Folder of the pins.
    pub pins: PathBuf,
    /// Folder of the node's CNI configurations.
    pub cni_conf_dir: PathBuf,
    /// Folder of the node's CNI plugins.
    pub cni_bin_dir: PathBuf,
}

/// How a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// It holds.
    Ok,
    /// The agent runs, and something may not be as wanted.
    Warning,
    /// The agent does not run, or enforces nothing.
    Failed,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeCheck {
    /// Its name, which stays.
    pub name: &'static str,
    /// Whether it holds.
    pub outcome: CheckOutcome,
    /// What was found.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

impl NodeCheck {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: CheckOutcome::Ok, found: found.into(), advice: String::new() }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: &str) -> Self {
        Self { outcome: CheckOutcome::Warning, advice: advice.to_owned(), ..Self::ok(name, found) }
    }

    fn failed(name: &'static str, found: impl Into<String>, advice: &str) -> Self {
        Self { outcome: CheckOutcome::Failed, ..Self::warning(name, found, advice) }
    }
}

/// Checks the node.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
pub async fn check(options: &CheckOptions) -> Vec<NodeCheck> {
    let mut checks = vec![
        kernel::version(),
        kernel::types(),
        kernel::lockdown(),
        kernel::privileges(),
        kernel::bpffs(&options.pins),
    ];
    checks.extend(network::checks(options).await);
    checks
}
