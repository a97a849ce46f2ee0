//! What is compiled from Go modules: Kubernetes, and the suite that upstream tests it with.
//!
//! Everything lies in the cache, under a name that tells what it was made of.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bootstrap::packages::{self, find};
use crate::bootstrap::tools;
use crate::command::{answer, command, quietly, workspace};
use crate::image::digest;

const LIMIT: Duration = Duration::from_mins(40);

/// Older ones cannot fetch the version that `go.mod` asks for.
const OLDEST_GO: u32 = 21;

/// What the upstream suite brings: its tests, and the server that it runs in pods.
pub(crate) struct Suite {
    /// The tests.
    pub(crate) tests: PathBuf,
    /// The server.
    pub(crate) agnhost: PathBuf,
    /// The image that the tests ask for.
    pub(crate) image: String,
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
    // The suite alone knows which version of its server it wants.
    let images = answer(command(&tests).arg("--list-images")).context("no list of images")?;
    let image = images.lines().find(|image| image.contains("/agnhost:"));
    let image = image.context("the suite names no agnhost")?.to_owned();
    Ok(Suite { tests, agnhost, image })
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

fn go() -> Result<Command> {
    let known =
        || find("go").or_else(|| Some("/usr/local/go/bin/go".into())).filter(|go| go.exists());
    if known().is_none() {
        packages::install(&["golang-go"])?;
    }
    let go = known().context("golang-go brought no go")?;
    let version = answer(command(&go).arg("version")).unwrap_or_default();
    if minor(&version).is_none_or(|minor| minor < OLDEST_GO) {
        bail!("Go 1.{OLDEST_GO} or newer is needed to compile Kubernetes; here is `{version}`");
    }
    let mut command = command(go);
    // Debian's may not fetch the version that is asked for.
    if env::var_os("GOTOOLCHAIN").is_none() {
        command.env("GOTOOLCHAIN", "auto");
    }
    Ok(command)
}

/// The minor version in `go version go1.26.8 linux/amd64`.
fn minor(version: &str) -> Option<u32> {
    version
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{minor, version};

    #[test]
    fn the_version_of_go_is_read() {
        let cases = [
            ("go version go1.26.8 linux/amd64", Some(26)),
            ("go version go1.19 linux/amd64", Some(19)),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(minor(text), want, "{text}");
        }
    }

    #[test]
    fn the_version_of_kubernetes_is_that_of_its_module() -> anyhow::Result<()> {
        assert!(version()?.starts_with("1."));
        Ok(())
    }
}
