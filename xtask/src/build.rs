//! `cargo xtask build`: builds the agent, with the eBPF object inside it.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::bootstrap::{self, Purpose};
use crate::bpf;
use crate::command::{cargo, run, workspace};

/// Builds the agent for `purpose` and returns its path.
pub(crate) fn build(purpose: Purpose, debug: bool) -> Result<PathBuf> {
    bpf::build(bootstrap::run(purpose)?)?;
    let mut build = cargo();
    build.args(["build", "--package", "policy-agent"]);
    if !debug {
        build.arg("--release");
    }
    run(&mut build)?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let profile = if debug { "debug" } else { "release" };
    Ok(workspace().join(target).join(profile).join("policy-agent"))
}
