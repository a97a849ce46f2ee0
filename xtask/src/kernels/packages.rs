//! Debian's cloud kernels, from a package list of their own: the sources of this machine stay as they
//! are. The list has the servers that the machine's own sources name.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::bootstrap::{packages::extract, tools};
use xtask::command::{answer, command, run};

/// Suites with kernels, and the archive that has each: 5.10; 6.1 and 6.12; the newest.
const SUITES: [(&str, &str); 3] = [
    ("debian-security", "bullseye-security"),
    ("debian-security", "bookworm-security"),
    ("debian", "sid"),
];

/// The key that signs them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The end of the packages' names.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel that was fetched.
pub(super) struct Kernel {
    /// As `uname -r` shows it.
    pub(super) release: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    /// The folder of its modules, `lib/modules/RELEASE`.
    pub(super) modules: PathBuf,
}

/// Fetches the newest kernel of a version, or of all for `newest`.
pub(super) fn fetch(version: &str) -> Result<Kernel> {
    let cache = folder()?;
    let release = newest(&cache, version)?;
    let root = cache.join(&release);
    if !root.exists() {
        let part = cache.join("part");
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part)?;
        // Newer packages are split in three.
        for kind in ["image", "binary", "modules"] {
            let package = format!("linux-{kind}-{release}");
            if !search(&cache, &format!("^{}$", package.replace('+', "[+]")))?.is_empty() {
                download(&cache, &part, &package)?;
            }
        }
        fs::rename(&part, &root)?;
    }
    let image = root.join("boot").join(format!("vmlinuz-{release}"));
    let modules = ["usr/lib/modules", "lib/modules"].map(|folder| root.join(folder).join(&release));
    let modules = modules.into_iter().find(|folder| folder.exists());
    let modules = modules.with_context(|| format!("no modules of {release}"))?;
    anyhow::ensure!(image.exists(), "no kernel {}", image.display());
    Ok(Kernel { release, image, modules })
}

/// The folder of lists and kernels, with the lists up to date.
fn folder() -> Result<PathBuf> {
    let cache = tools::folder()?.join("kernels");
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(cache.join(folder))?;
    }
    let mut sources = String::new();
    for (archive, suite) in SUITES {
        let server = server(archive)?;
        writeln!(sources, "deb [signed-by={KEYRING}] {server} {suite} main")?;
    }
    fs::write(cache.join("sources.list"), sources)?;
    fs::write(cache.join("status"), "")?;
    run(apt("apt-get", &cache).args(["--quiet", "--quiet", "update"]))?;
    Ok(cache)
}

/// The address of one of Debian's archives, as this machine's own sources have it.
fn server(archive: &str) -> Result<String> {
    let mut targets = command("apt-get");
    let targets = answer(targets.args(["indextargets", "--format", "$(REPO_URI)"]));
    let targets = targets.context("apt-get lists no sources; this needs a Debian machine")?;
    let mut servers = targets.lines().map(|line| line.trim_end_matches('/'));
    let server = servers.find(|server| server.rsplit('/').next() == Some(archive));
    let server = server.with_context(|| format!("the sources of apt name no archive {archive}"))?;
    Ok(server.to_owned())
}

/// The newest release of a version.
fn newest(cache: &Path, version: &str) -> Result<String> {
    let pattern = match version {
        "newest" => "^linux-image-[0-9]".to_owned(),
        version => format!("^linux-image-{}[.]", version.replace('.', "[.]")),
    };
    let found = search(cache, &format!("{pattern}.*{FLAVOUR}$"))?;
    let releases = found.iter().filter_map(|name| name.strip_prefix("linux-image-"));
    // Backports to an older Debian have the same kernel under another name.
    let releases = releases.filter(|release| !release.contains('~') && !release.contains(".deb11"));
    let newest = releases.max_by_key(|release| numbers(release));
    Ok(newest.with_context(|| format!("Debian has no cloud kernel {version}"))?.to_owned())
}

/// The numbers of a release, to compare by.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|letter: char| !letter.is_ascii_digit()).flat_map(str::parse).collect()
}

fn search(cache: &Path, pattern: &str) -> Result<Vec<String>> {
    let mut search = apt("apt-cache", cache);
    let found = answer(search.args(["search", "--names-only", pattern]));
    let found = found.context("apt-cache search failed")?;
    Ok(found.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect())
}

fn download(cache: &Path, into: &Path, package: &str) -> Result<()> {
    run(apt("apt-get", cache).args(["--quiet", "download", package]).current_dir(into))?;
    extract(into)
}

/// A program of apt with lists, state and cache in the folder.
fn apt(program: &str, cache: &Path) -> Command {
    let mut apt = command(program);
    let folder = cache.display();
    for option in [
        format!("Dir::Etc::sourcelist={folder}/sources.list"),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State={folder}"),
        format!("Dir::State::status={folder}/status"),
        format!("Dir::Cache={folder}/cache"),
        "APT::Sandbox::User=root".to_owned(),
    ] {
        apt.args(["-o", &option]);
    }
    apt
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        let newer = ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.117+deb12-cloud-amd64"];
        assert!(newer.is_sorted_by_key(|release| numbers(release)));
    }
}
