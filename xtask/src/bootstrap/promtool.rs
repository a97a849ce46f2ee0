//! promtool, which checks and tests Prometheus' alert rules, out of Debian's package.
//!
//! The package is unpacked and not installed, because it brings a server that would start.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    packages::{self, find},
    tools,
};

/// The program; from the package where the machine does not have it.
pub fn ensure() -> Result<PathBuf> {
    if let Some(found) = find("promtool") {
        return Ok(found);
    }
    let folder = tools::folder()?.join("promtool");
    let program = folder.join("usr/bin/promtool");
    if !program.exists() {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        packages::unpack("prometheus", &folder).context("missing: promtool")?;
    }
    Ok(program)
}
