//! Debian packages, by apt-get.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::command::{answer, command, quietly};

const LIMIT: Duration = Duration::from_mins(15);

/// A Debian package, and the file that shows that it, or the like of it, is there.
pub(crate) struct Package {
    name: &'static str,
    proof: PathBuf,
}

impl Package {
    /// A package that brings a program.
    pub(crate) fn with_command(name: &'static str, command: &'static str) -> Self {
        Self {
            name,
            proof: PathBuf::from(command),
        }
    }

    /// A package that brings a file at an absolute path.
    pub(crate) fn with_file(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            proof: PathBuf::from(path),
        }
    }

    fn is_there(&self) -> bool {
        if self.proof.is_absolute() {
            return self.proof.exists();
        }
        find(&self.proof).is_some()
    }
}

/// Where a program lies: in `PATH`, or where administrators' programs are.
pub(crate) fn find(program: impl AsRef<Path>) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program.as_ref()))
        .find(|file| file.is_file())
}

/// Installs those packages whose proof is missing.
///
/// Fails with what is missing and the command to run where it may not or cannot install.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| !package.is_there())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    let explain = |why: &str| {
        let names = names.join(" ");
        anyhow!(
            "missing: {names}, and {why}\nrun by hand: \
             sudo apt-get update && sudo apt-get install --no-install-recommends {names}\n\
             (where there is no apt-get: the same packages by your system's means)"
        )
    };
    if find("apt-get").is_none() {
        return Err(explain("there is no apt-get here"));
    }
    if !is_root() {
        return Err(explain("only root may install it"));
    }
    install(&names).map_err(|error| explain(&format!("apt-get failed:\n{error:#}")))?;
    match missing.iter().find(|package| !package.is_there()) {
        Some(package) => {
            bail!(
                "package {} is installed, but {} is not there",
                package.name,
                package.proof.display()
            )
        }
        None => Ok(()),
    }
}

/// Whether we run as root.
pub(crate) fn is_root() -> bool {
    answer(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// The lists of a fresh or old machine may be missing or stale, so they are fetched at need.
fn install(names: &[&str]) -> Result<()> {
    let what = format!("installing {}", names.join(", "));
    let mut install = apt_get();
    install
        .args(["install", "--no-install-recommends", "--no-remove", "--yes"])
        .args(names);
    if quietly(&what, &mut install, LIMIT).is_ok() {
        return Ok(());
    }
    quietly("updating the package lists", apt_get().arg("update"), LIMIT)?;
    quietly(&what, &mut install, LIMIT)
}

fn apt_get() -> Command {
    let mut apt_get = command("apt-get");
    apt_get
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=300"]);
    apt_get
}
