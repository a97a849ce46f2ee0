//! A network namespace with an interface for each pod: a test run accepts no index of an
//! interface that does not exist.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use crate::addresses::interface;

/// Enters a network namespace of its own, which ends with this thread.
pub(super) fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot make a network namespace; this needs root")?;
    let (first, second) = (interface(0).to_string(), interface(1).to_string());
    let status = Command::new("ip")
        .args(["link", "add", "name", "pod0", "index", &first, "type", "veth"])
        .args(["peer", "name", "pod1", "index", &second])
        .status()
        .context("cannot start ip")?;
    ensure!(status.success(), "ip cannot make a pair of interfaces ({status})");
    Ok(())
}
