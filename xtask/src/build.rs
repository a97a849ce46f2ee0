//! Builds the programs of the product, all of them in one profile and one target folder.
//!
//! Cargo compiles a dependency once for each set of features that a build needs, and that set
//! depends on the packages that are selected. So every build here selects the same packages and
//! names the programs that it wants: `demo`, `build` and `image` share all dependencies.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

use crate::bootstrap::{self, Purpose};
use crate::bpf;
use crate::command::{cargo, run, workspace};
use crate::progress::Steps;

/// The program of the agent.
pub const AGENT: &str = "policy-agent";

/// The chained CNI plugin.
pub const CNI: &str = "policy-cni";

/// The operator's tool.
pub const CTL: &str = "policyctl";

/// Packages that every build selects: those of the programs, and what the agent has optionally.
const PACKAGES: [&str; 4] = ["policy-agent-bin", "policy-cni", "policy-lab", "policyctl"];

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Builds slower, runs faster: what is installed.
    Release,
    /// Builds faster, runs slower: what tests use.
    Debug,
}

/// Installs what `purpose` needs, then builds the eBPF object and the programs.
///
/// Returns the folder in which they lie.
pub fn build(purpose: Purpose, programs: &[&str], profile: Profile) -> Result<PathBuf> {
    let mut steps = Steps::new(3);
    let compiler = steps.run("installing what the machine lacks", || bootstrap::run(purpose))?;
    steps.run("building the eBPF object", || bpf::build(compiler))?;
    let names = programs.join(", ");
    steps.run(&format!("building {names}"), || build_programs(programs, profile, &[]))
}

/// Builds the agent without the lab, as an image carries it, and returns its path.
///
/// It is another program than the one in `target/release`, which stays as it is.
pub fn build_agent_without_lab() -> Result<PathBuf> {
    let folder = target().join("image");
    // The agent's own crate is the only one that has the lab as a feature.
    let features = ["--no-default-features", "--features", "policyctl/default"];
    let built = folder.join(AGENT);
    keeping(AGENT, &built, || build_programs(&[AGENT], Profile::Release, &features))?;
    Ok(built)
}

/// Builds a program that needs no library, so that it runs on any machine of this architecture.
///
/// Only the program itself is compiled for that; its dependencies are the same as elsewhere.
pub fn build_static(package: &str) -> Result<PathBuf> {
    let built = target().join("image").join(package);
    keeping(package, &built, || {
        let mut rustc = cargo();
        rustc.args(["rustc", "--release", "--package", package, "--bin", package]);
        run(rustc.args(["--", "-C", "target-feature=+crt-static"]))?;
        Ok(target().join("release"))
    })?;
    Ok(built)
}

fn build_programs(programs: &[&str], profile: Profile, options: &[&str]) -> Result<PathBuf> {
    let mut build = cargo();
    build.arg("build");
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    for program in programs {
        build.args(["--bin", program]);
    }
    build.args(options);
    if profile == Profile::Release {
        build.arg("--release");
    }
    run(&mut build)?;
    Ok(target().join(match profile {
        Profile::Release => "release",
        Profile::Debug => "debug",
    }))
}

/// Runs a build of the program `name` in the folder of releases, and moves the program to `to`.
///
/// A program of that name that was in the folder before is there afterwards, too.
fn keeping(name: &str, to: &Path, build: impl FnOnce() -> Result<PathBuf>) -> Result<()> {
    let program = target().join("release").join(name);
    let kept = program.with_extension("kept");
    let was_there = fs::rename(&program, &kept).is_ok();
    let outcome = build().and_then(|_| move_file(&program, to));
    if was_there {
        move_file(&kept, &program)?;
    }
    outcome
}

fn move_file(from: &Path, to: &Path) -> Result<()> {
    let act = || {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(from, to)
    };
    act().with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

/// The folder of everything that is built.
fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace().join(target)
}
