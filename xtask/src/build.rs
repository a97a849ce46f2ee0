//! `cargo xtask build`: builds the agent, with the eBPF object inside it, and `policyctl`.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::bootstrap::{self, Purpose};
use crate::bpf;
use crate::command::{cargo, run, workspace};

/// The program of the agent.
pub const AGENT: &str = "policy-agent";

/// The package of the chained CNI plugin, and of its program.
pub const CNI: &str = "policy-cni";

/// The package of the operator's tool, and of its program.
pub const CTL: &str = "policyctl";

/// The package that has a program.
pub fn package(program: &str) -> &str {
    match program {
        AGENT => "policy-agent-bin",
        same => same,
    }
}

/// Installs what `purpose` needs, then builds the programs.
/// Returns the folder in which they lie.
pub fn build(purpose: Purpose, programs: &[&str], debug: bool) -> Result<PathBuf> {
    bpf::build(bootstrap::run(purpose)?)?;
    let mut build = cargo();
    build.arg("build");
    for program in programs {
        build.args(["--package", package(program)]);
    }
    if !debug {
        build.arg("--release");
    }
    run(&mut build)?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let profile = if debug { "debug" } else { "release" };
    Ok(workspace().join(target).join(profile))
}
