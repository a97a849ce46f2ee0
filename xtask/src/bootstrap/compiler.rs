//! Finds or installs the compiler for BPF.
//!
//! `core` is compiled for BPF from source, and the sources must be those of the very compiler.
//! The pinned toolchain is taken if it has them, then Debian's pair of compiler and sources, which
//! always match. If neither is installed, rustup tries to fetch the sources, then apt-get the pair.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::command::{answer, command, quietly};

/// The environment variable that chooses one of the two: `rustup` or `debian`.
const CHOICE: &str = "POLICY_BPF_COMPILER";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The minor version in `rust-version` of the workspace.
const OLDEST_MINOR: u32 = 95;

/// Without a server, rustup would try for minutes.
const FETCH_LIMIT: Duration = Duration::from_secs(20);

/// A compiler that has its own library's sources.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// The pinned toolchain with component `rust-src`.
    Rustup,
    /// Debian's `rustc-web` with `rust-web-src`.
    Debian,
}

impl Compiler {
    /// Makes a cargo command use this compiler, and lets it build the library.
    pub fn apply(self, cargo: &mut Command) {
        cargo.env("RUSTC_BOOTSTRAP", "1");
        for wrapper in ["RUSTC", "RUSTC_WORKSPACE_WRAPPER"] {
            cargo.env_remove(wrapper);
        }
        if self == Self::Debian {
            cargo.env("RUSTC", DEBIAN_RUSTC);
        }
    }
}

/// Finds a compiler for BPF, or installs one.
pub fn ensure() -> Result<Compiler> {
    match env::var(CHOICE).as_deref() {
        Ok("rustup") => rustup().context("rustup has no rust-src for the pinned toolchain"),
        Ok("debian") => debian(),
        Ok(other) => bail!("{CHOICE} is `{other}`, not `rustup` or `debian`"),
        Err(_) => rustup().map_or_else(debian, Ok),
    }
}

fn rustup() -> Option<Compiler> {
    if has_sources("rustc") {
        return Some(Compiler::Rustup);
    }
    if usable_debian() && env::var_os(CHOICE).is_none() {
        return None;
    }
    let mut add = command("rustup");
    add.args(["component", "add", "rust-src"]).env("RUSTUP_MAX_RETRIES", "0");
    quietly("fetching rust-src for the pinned toolchain", &mut add, FETCH_LIMIT).ok()?;
    has_sources("rustc").then_some(Compiler::Rustup)
}

fn debian() -> Result<Compiler> {
    if usable_debian() {
        return Ok(Compiler::Debian);
    }
    packages::install(&["rustc-web", "rust-web-src"]).context(
        "no library sources for BPF: `rustup component add rust-src` did not bring them",
    )?;
    if !usable_debian() {
        bail!(
            "Debian's rustc-web is older here than 1.{OLDEST_MINOR}: run `rustup component add rust-src`"
        );
    }
    Ok(Compiler::Debian)
}

fn usable_debian() -> bool {
    let version = answer(command(DEBIAN_RUSTC).arg("--version")).unwrap_or_default();
    minor(&version).is_some_and(|minor| minor >= OLDEST_MINOR) && has_sources(DEBIAN_RUSTC)
}

fn has_sources(rustc: &str) -> bool {
    answer(command(rustc).args(["--print", "sysroot"])).is_some_and(|sysroot| {
        Path::new(&sysroot).join("lib/rustlib/src/rust/library/Cargo.lock").exists()
    })
}

/// The minor version in `rustc 1.95.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn the_version_of_a_compiler_is_read() {
        assert_eq!(
            minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            Some(96)
        );
        assert_eq!(minor("rustc 1.63.0"), Some(63));
        assert_eq!(minor("gcc 12"), None);
    }
}
