//! Builds the programs of the product, all of them in one profile and one target folder.
//!
//! Cargo compiles a dependency once for each set of features that a build needs, and that set
//! depends on the packages that are selected. So `build` and `image` select the same packages and
//! name the programs that they want: they share all dependencies. `demo` is the first build that a
//! newcomer waits for, and selects the lab alone.

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
pub fn build_agent_without_lab(profile: Profile) -> Result<PathBuf> {
    // The agent's own crate is the only one that has the lab as a feature.
    let features =
        ["--no-default-features", "--features", "policy-agent-bin/daemon,policyctl/default"];
    keeping(AGENT, profile, "image", || build_programs(&[AGENT], profile, &features).map(drop))
}

/// Builds the agent with the lab and without the daemon, and so without a client of Kubernetes and a
/// server of HTTP, which are half of the agent's dependencies; returns its path.
///
/// It is another program than the one in `target/release`, which stays as it is.
pub fn build_lab() -> Result<PathBuf> {
    let mut steps = Steps::new(3);
    let compiler =
        steps.run("installing what the machine lacks", || bootstrap::run(Purpose::Lab))?;
    steps.run("building the eBPF object", || bpf::build(compiler))?;
    steps.run("building the lab", || {
        keeping(AGENT, Profile::Release, "demo", || {
            let mut build = cargo();
            build.args(["build", "--release", "--package", "policy-agent-bin", "--bin", AGENT]);
            run(build.args(["--no-default-features", "--features", "policy-agent-bin/lab"]))
        })
    })
}

/// Builds a program that needs no library, so that it runs on any machine of this architecture.
///
/// Cargo takes the flag for one package only, and then selects the features of that package alone: of
/// the plugin's dependencies serde, `serde_json`, syn, memchr and what is built from them are compiled
/// once more, which costs less than 38 s of processor time. One selection of features for all packages
/// is an unstable option of cargo (`feature-unification`).
pub fn build_static(package: &str, profile: Profile) -> Result<PathBuf> {
    keeping(package, profile, "image", || {
        let mut rustc = cargo();
        rustc.args(["rustc", "--package", package, "--bin", package]);
        rustc.args(profile.options());
        run(rustc.args(["--", "-C", "target-feature=+crt-static"]))
    })
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
    build.args(options).args(profile.options());
    run(&mut build)?;
    Ok(profile.folder())
}

impl Profile {
    /// Options of cargo that choose it.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["--release"],
            Self::Debug => &[],
        }
    }

    /// The folder in which cargo puts the programs.
    fn folder(self) -> PathBuf {
        target().join(match self {
            Self::Release => "release",
            Self::Debug => "debug",
        })
    }
}

/// Runs a build of the program `name`, and moves the program into a folder beside cargo's own
/// programs.
///
/// A program of that name that cargo built before is there afterwards, too.
fn keeping(
    name: &str,
    profile: Profile,
    folder: &str,
    build: impl FnOnce() -> Result<()>,
) -> Result<PathBuf> {
    let program = profile.folder().join(name);
    let destination = profile.folder().join(folder).join(name);
    let kept = program.with_extension("kept");
    let was_there = fs::rename(&program, &kept).is_ok();
    let outcome = build().and_then(|()| move_file(&program, &destination));
    if was_there {
        move_file(&kept, &program)?;
    }
    outcome.map(|()| destination)
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
