//! Programs compiled from Go modules: Kubernetes, and the suite that upstream tests it with.
//!
//! They lie in the cache, in a folder named after the digest of their sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::bootstrap::{go::go, tools};
use xtask::command::{OutputParts, answer, command, quietly_in_parts, workspace};
use xtask::image::digest;

/// A loaded machine may need three times as long as a quiet one.
const LIMIT: Duration = Duration::from_mins(90);

/// The upstream suite: its tests, and the server that they run in pods.
pub struct Suite {
    /// The tests.
    pub tests: PathBuf,
    /// The server.
    pub agnhost: PathBuf,
    /// The names of its images in the tests, one for each version.
    pub images: Vec<String>,
}

/// The one program that is every part of a cluster; compiled if the cache does not have it.
pub fn kubernetes() -> Result<PathBuf> {
    let built = folder()?.join("kubernetes");
    ensure(&built, "Kubernetes", &["build"], ".", 30)?;
    Ok(built)
}

/// The upstream suite; compiled if the cache does not have it.
pub fn suite() -> Result<Suite> {
    let folder = folder()?;
    let (tests, agnhost) = (folder.join("e2e.test"), folder.join("agnhost"));
    ensure(&agnhost, "agnhost", &["build"], "k8s.io/kubernetes/test/images/agnhost", 5)?;
    ensure(&tests, "the upstream suite", &["test", "-c"], "k8s.io/kubernetes/test/e2e", 15)?;
    // Each test names a version of the server; only the suite has the list.
    let images = answer(command(&tests).arg("--list-images")).context("no list of images")?;
    let images = images.lines().filter(|image| image.contains("/agnhost:"));
    let images = images.map(str::to_owned).collect();
    Ok(Suite { tests, agnhost, images })
}

/// The version of Kubernetes, without a `v`.
pub fn version() -> Result<String> {
    let text = fs::read_to_string(source().join("go.mod"))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    Ok(line.context("go.mod names no version of k8s.io/kubernetes")?.to_owned())
}

fn source() -> PathBuf {
    workspace().join("tests/testbed/kubernetes")
}

fn folder() -> Result<PathBuf> {
    let mut made_of = Vec::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        made_of.extend(fs::read(source().join(file))?);
    }
    let name = format!("kubernetes-{}-{}", version()?, &digest(&made_of)[..12]);
    Ok(tools::folder()?.join(name))
}

/// Compiles a package into `built` unless that file exists; `minutes` is what a reader should expect.
fn ensure(built: &Path, what: &str, verb: &[&str], package: &str, minutes: u32) -> Result<()> {
    if built.exists() {
        return Ok(());
    }
    let version = version()?;
    let minor = version.split('.').nth(1).unwrap_or_default();
    let stamp = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {stamp}.gitVersion=v{version} -X {stamp}.gitMajor=1 -X {stamp}.gitMinor={minor}"
    );
    // A build that is interrupted leaves no file that looks complete.
    let partial = built.with_extension("partial");
    let mut compile = go_in_source()?;
    compile.args(verb).args(["-v", "-trimpath", "-buildvcs=false", "-mod=readonly"]);
    compile.args(["-ldflags", &flags]).arg("-o").arg(&partial).arg(package);
    // `-v` prints the name of each package that is compiled.
    let parts = OutputParts { total: count_packages(package), of_line: |line| Some(line) };
    let what =
        format!("building {what} {version} (once per machine, about {minutes} minutes on 2 cores)");
    quietly_in_parts(&what, &mut compile, LIMIT, parts)?;
    fs::rename(&partial, built).with_context(|| format!("cannot write {}", built.display()))
}

fn go_in_source() -> Result<Command> {
    let mut go = go()?;
    go.current_dir(source()).env("CGO_ENABLED", "0").env("GOWORK", "off");
    Ok(go)
}

/// How many packages a build compiles where the cache has none of them.
fn count_packages(package: &str) -> Option<u64> {
    let mut list = go_in_source().ok()?;
    let list = answer(list.args(["list", "-deps", "-mod=readonly", package]))?;
    u64::try_from(list.lines().count()).ok()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_of_kubernetes_is_that_of_its_module() -> anyhow::Result<()> {
        assert!(version()?.starts_with("1."));
        Ok(())
    }
}
