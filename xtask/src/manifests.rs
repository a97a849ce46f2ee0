//! `cargo xtask manifests`: renders `manifests/install.yaml` from the kustomize base.

mod alerts;
mod chart;

use std::fs;

use anyhow::{Context, Result, ensure};

use xtask::command::workspace;

pub(crate) use alerts::check as check_alerts;
pub(crate) use chart::check as check_chart;

/// Files of the base, in the order in which an API server wants them.
const BASE: [&str; 3] = ["namespace.yaml", "rbac.yaml", "daemonset.yaml"];
const INSTALL: &str = "manifests/install.yaml";
const UNINSTALL: &str = "manifests/uninstall.yaml";

/// Writes the file that `kubectl apply -f` takes.
pub(crate) fn write() -> Result<()> {
    let path = workspace().join(INSTALL);
    fs::write(&path, rendered()?).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails if the file differs from what the base renders.
pub(crate) fn check() -> Result<()> {
    let path = workspace().join(INSTALL);
    let found =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        found == rendered()?,
        "{INSTALL} differs from manifests/base; run: cargo xtask manifests"
    );
    let uninstall = fs::read_to_string(workspace().join(UNINSTALL))?;
    let image = |line: &&str| line.trim_start().starts_with("image: ");
    let installed = found.lines().find(image).map(str::trim);
    ensure!(
        installed.is_some()
            && uninstall.lines().filter(image).all(|line| Some(line.trim()) == installed),
        "{UNINSTALL} runs another image than {INSTALL}"
    );
    Ok(())
}

fn rendered() -> Result<String> {
    let folder = workspace().join("manifests/base");
    let list = fs::read_to_string(folder.join("kustomization.yaml"))?;
    let mut parts = Vec::new();
    for name in BASE {
        ensure!(list.contains(&format!("- {name}\n")), "kustomization.yaml does not name {name}");
        let path = folder.join(name);
        let part =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        parts.push(part);
    }
    Ok(parts.join("---\n"))
}
