//! What is compiled from Go modules: Kubernetes, and the suite that upstream tests it with.
//!
//! Everything lies in the cache, under a name that tells what it was made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bootstrap::{go::go, tools};
use crate::command::{answer, command, quietly, workspace};
use crate::image::digest;

const LIMIT: Duration = Duration::from_mins(40);

/// What the upstream suite brings: its tests, and the server that it runs in pods.
pub(crate) struct Suite {
    /// The tests.
    pub(crate) tests: PathBuf,
    /// The server.
    pub(crate) agnhost: PathBuf,
    /// The images of it that the tests ask for, in each of its versions.
    pub(crate) images: Vec<String>,
}

/// Every program of a cluster in one; built where the cache lacks it.
pub(crate) fn kubernetes() -> Result<PathBuf> {
    let built = folder()?.join("kubernetes");
    ensure(&built, "Kubernetes", &["build"], ".")?;
    Ok(built)
}

/// The upstream suite; built where the cache lacks it.
pub(crate) fn suite() -> Result<Suite> {
    let folder = folder()?;
    let (tests, agnhost) = (folder.join("e2e.test"), folder.join("agnhost"));
    ensure(&agnhost, "agnhost", &["build"], "k8s.io/kubernetes/test/images/agnhost")?;
    ensure(&tests, "the upstream suite", &["test", "-c"], "k8s.io/kubernetes/test/e2e")?;
    // The suite alone knows which version of its server each test wants.
    let images = answer(command(&tests).arg("--list-images")).context("no list of images")?;
    let images = images.lines().filter(|image| image.contains("/agnhost:"));
    let images = images.map(str::to_owned).collect();
    Ok(Suite { tests, agnhost, images })
}

/// The version of Kubernetes, without a `v`.
pub(crate) fn version() -> Result<String> {
    let text = fs::read_to_string(source().join("go.mod"))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    Ok(line.context("go.mod names no version of k8s.io/kubernetes")?.to_owned())
}

fn source() -> PathBuf {
    workspace().join("xtask/kubernetes")
}

fn folder() -> Result<PathBuf> {
    let mut made_of = Vec::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        made_of.extend(fs::read(source().join(file))?);
    }
    let name = format!("kubernetes-{}-{}", version()?, &digest(&made_of)[..12]);
    Ok(tools::folder()?.join(name))
}

fn ensure(built: &Path, what: &str, verb: &[&str], package: &str) -> Result<()> {
    if built.exists() {
        return Ok(());
    }
    let version = version()?;
    let minor = version.split('.').nth(1).unwrap_or_default();
    let stamp = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {stamp}.gitVersion=v{version} -X {stamp}.gitMajor=1 -X {stamp}.gitMinor={minor}"
    );
    // A build that is cut short leaves nothing that looks finished.
    let partial = built.with_extension("partial");
    let mut compile = go()?;
    compile.current_dir(source()).env("CGO_ENABLED", "0").env("GOWORK", "off");
    compile.args(verb).args(["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", &flags]);
    compile.arg("-o").arg(&partial).arg(package);
    quietly(&format!("building {what} {version} (once per machine)"), &mut compile, LIMIT)?;
    fs::rename(&partial, built).with_context(|| format!("cannot write {}", built.display()))
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
