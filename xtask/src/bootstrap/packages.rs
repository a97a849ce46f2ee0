//! Debian packages, by apt-get.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::command::{answer, command, quietly, run};

const LIMIT: Duration = Duration::from_mins(15);

/// A program, and the Debian package that brings it.
pub struct Program {
    /// The name of the program, or its path if it is in no usual folder.
    pub name: &'static str,
    /// The name of the package.
    pub package: &'static str,
}

/// Installs the packages of those programs that the machine lacks.
pub fn ensure(programs: &[Program]) -> Result<()> {
    let missing = programs.iter().filter(|program| find(program.name).is_none());
    let packages: Vec<_> = missing.map(|program| program.package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages)
}

/// Installs packages, or the newest version of them.
///
/// Where it cannot install, the error names the packages and the command to run by hand.
pub fn install(packages: &[&str]) -> Result<()> {
    let explain = |why: &str| {
        let names = packages.join(" ");
        anyhow!(
            "missing: {names}; {why}\n\
             run by hand: sudo apt-get update && sudo apt-get install --no-install-recommends {names}\n\
             (where there is no apt-get: the same packages by your system's means)"
        )
    };
    if find("apt-get").is_none() {
        return Err(explain("there is no apt-get here"));
    }
    if !is_root() {
        return Err(explain("only root may install them"));
    }
    update();
    let mut install = apt_get();
    install.args(["install", "--no-install-recommends", "--no-remove", "--yes"]).args(packages);
    quietly(&format!("installing {}", packages.join(", ")), &mut install, LIMIT)
        .map_err(|error| explain(&format!("{error:#}")))
}

/// Downloads a package and unpacks its files into a folder, without installing it.
pub fn unpack(package: &str, into: &Path) -> Result<()> {
    update();
    let mut download = apt_get();
    download.args(["download", package]).current_dir(into);
    quietly(&format!("downloading {package}"), &mut download, LIMIT)?;
    extract(into)
}

/// Unpacks the packages in a folder into it, and removes them.
pub fn extract(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(command("dpkg-deb").arg("--extract").arg(&path).arg(folder))?;
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The path of a program in `PATH` or in a folder of system programs.
pub fn find(program: impl AsRef<Path>) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program.as_ref()))
        .find(|file| file.is_file())
}

/// Whether we run as root.
pub fn is_root() -> bool {
    answer(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// Fetches the package lists once per run: with old lists packages are not found.
fn update() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        // If one source does not answer, the installation may still succeed.
        let _ = quietly("updating the package lists", apt_get().arg("update"), LIMIT);
    }
}

fn apt_get() -> Command {
    let mut apt_get = command("apt-get");
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
    apt_get
}
