//! Programs that cargo installs, once per machine, into the cache of this project.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::packages::{self, find};
use crate::command::{OutputParts, answer, cargo, command, line, quietly_in_parts};

const LIMIT: Duration = Duration::from_mins(30);

/// LLVM for bpf-linker; the major version of the compilers' own, and not older.
const LLVM: &str = "/usr/lib/llvm-22";

/// Links LLVM bitcode to a BPF object with BTF that the kernel takes.
pub const BPF_LINKER: Tool = Tool {
    program: "bpf-linker",
    package: "bpf-linker",
    version: "0.13.0",
    options: &["--no-default-features", "--features", "llvm-22"],
    llvm: true,
};

/// Checks licences and sources of what we depend on.
pub const CARGO_DENY: Tool = Tool {
    program: "cargo-deny",
    package: "cargo-deny",
    version: "0.20.2",
    options: &[],
    llvm: false,
};

/// Checks spelling.
pub const TYPOS: Tool =
    Tool { program: "typos", package: "typos-cli", version: "1.52.0", options: &[], llvm: false };

/// A program that cargo can install.
pub struct Tool {
    program: &'static str,
    package: &'static str,
    version: &'static str,
    options: &'static [&'static str],
    llvm: bool,
}

impl Tool {
    /// The program in the version wanted, built if the machine does not have it.
    pub fn ensure(&self) -> Result<PathBuf> {
        let root = folder()?.join(format!("{}-{}", self.package, self.version));
        let own = root.join("bin").join(self.program);
        let known = [Some(own.clone()), find(self.program)];
        if let Some(program) = known.into_iter().flatten().find(|program| self.is_wanted(program)) {
            return Ok(program);
        }
        let mut install = cargo();
        if self.llvm {
            if !Path::new(LLVM).join("bin/llvm-config").exists() {
                packages::install(&["llvm-22-dev"])?;
            }
            install.env("LLVM_PREFIX", LLVM);
        }
        // These programs run for seconds and compile for minutes, so optimisation does not pay.
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
        install.env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        install.env_remove("CARGO_TARGET_DIR");
        install.args(["install", self.package, "--version", self.version, "--locked", "--force"]);
        install.args(self.options).arg("--root").arg(root);
        let what = format!("building {} {} (once per machine)", self.package, self.version);
        let parts = OutputParts { total: None, of_line: compiling };
        quietly_in_parts(&what, &mut install, LIMIT, parts).map_err(|error| {
            let (program, by_hand) = (self.program, line(&install));
            anyhow!("missing: {program}; {error:#}\nrun by hand: {by_hand}")
        })?;
        Ok(own)
    }

    /// A program that lacks a shared library prints no version.
    fn is_wanted(&self, program: &PathBuf) -> bool {
        let version = answer(command(program).arg("--version")).unwrap_or_default();
        version.split_whitespace().any(|word| word == self.version)
    }
}

/// The crate in a line of cargo, such as `   Compiling syn v3.0.1`.
fn compiling(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("Compiling ")
}

/// The cache: what is built once per machine.
pub fn folder() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("policy-xtask"))
}
