//! Go, and programs that it builds from modules, once per machine.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::packages::{self, find};
use super::tools;
use crate::command::{OutputParts, answer, command, line, quietly_in_parts};

const LIMIT: Duration = Duration::from_mins(30);

/// Older ones cannot fetch the version that a module asks for.
const OLDEST_GO: u32 = 21;

/// Renders the chart.
pub const HELM: GoTool =
    GoTool { program: "helm", package: "helm.sh/helm/v3/cmd/helm", version: "v3.19.4" };

/// Renders the overlays.
pub const KUSTOMIZE: GoTool = GoTool {
    program: "kustomize",
    package: "sigs.k8s.io/kustomize/kustomize/v5",
    version: "v5.7.1",
};

/// A program that go can install.
pub struct GoTool {
    program: &'static str,
    package: &'static str,
    version: &'static str,
}

impl GoTool {
    /// The program in exactly its version, built if the machine does not have it.
    pub fn ensure(&self) -> Result<PathBuf> {
        let Self { program, package, version } = self;
        let folder = tools::folder()?.join(format!("{program}-{version}")).join("bin");
        let built = folder.join(program);
        if built.exists() {
            return Ok(built);
        }
        let mut install = go()?;
        install.env("GOBIN", &folder).env("CGO_ENABLED", "0").env("GOFLAGS", "-trimpath");
        // `-v` prints the name of each package that is compiled.
        install.args(["install", "-v"]).arg(format!("{package}@{version}"));
        let what = format!("building {program} {version} (once per machine)");
        let parts = OutputParts { total: None, of_line: |line| Some(line) };
        quietly_in_parts(&what, &mut install, LIMIT, parts).map_err(|error| {
            anyhow!("missing: {program}; {error:#}\nrun by hand: {}", line(&install))
        })?;
        Ok(built)
    }
}

/// Go, in a version that fetches a newer one where a module asks for it.
pub fn go() -> Result<Command> {
    let known =
        || find("go").or_else(|| Some("/usr/local/go/bin/go".into())).filter(|go| go.exists());
    if known().is_none() {
        packages::install(&["golang-go"])?;
    }
    let go = known().context("golang-go brought no go")?;
    let version = answer(command(&go).arg("version")).unwrap_or_default();
    if minor(&version).is_none_or(|minor| minor < OLDEST_GO) {
        bail!("Go 1.{OLDEST_GO} or newer is needed; here is `{version}`");
    }
    let mut command = command(go);
    // Debian's Go does not fetch another version unless it is allowed to.
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
    use super::minor;

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
}
