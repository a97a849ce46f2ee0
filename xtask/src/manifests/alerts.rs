//! Checks the alert rules by promtool: their syntax, and when each fires.

use anyhow::Result;

use xtask::bootstrap::promtool;
use xtask::command::{command, run, workspace};

/// Fails if a rule is wrong, or fires when it must not, or does not when it must.
pub(crate) fn check() -> Result<()> {
    let manifests = workspace().join("manifests");
    let promtool = promtool::ensure()?;
    let rules = "helm/policy-agent/files/alerts.yaml";
    run(command(&promtool).args(["check", "rules", rules]).current_dir(&manifests))?;
    run(command(&promtool).args(["test", "rules", "alerts.test.yaml"]).current_dir(&manifests))
}
