//! `cargo xtask image`: an image of the agent, built without any container engine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::bootstrap::{self, Purpose};
use crate::bpf;
use crate::build::{AGENT, CNI};
use crate::command::{cargo, run, workspace};

/// As `manifests/install.yaml` names it.
const NAME: &str = concat!("policy-agent:", env!("CARGO_PKG_VERSION"));

/// Builds the agent and the CNI plugin that it installs, each as one static program, and an image of
/// nothing else.
///
/// Returns the path of an archive as `docker load`, `ctr images import` and
/// `kind load image-archive` take it.
pub(crate) fn build() -> Result<PathBuf> {
    bpf::build(bootstrap::run(Purpose::Build)?)?;
    let folder = build_static()?;
    let image = workspace().join("target/image.tar");
    write(&folder, &image)?;
    println!("{NAME} in {}", image.display());
    Ok(image)
}

/// A target is named so that the flags are the program's alone, and not those of macros too.
fn build_static() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = workspace().join("target/image");
    let mut build = cargo();
    build.args(["build", "--release", "--package", AGENT, "--package", CNI, "--target", &target]);
    run(build.arg("--target-dir").arg(&folder).env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(folder.join(target).join("release"))
}

/// Writes an archive of one layer with the programs of a folder (Docker Image Specification v1.2).
fn write(folder: &Path, image: &Path) -> Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    for name in [AGENT, CNI] {
        let program = folder.join(name);
        let bytes = fs::read(&program);
        let bytes = bytes.with_context(|| format!("cannot read {}", program.display()))?;
        append(&mut layer, name, &bytes, 0o755)?;
    }
    let layer = layer.into_inner()?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [format!("/{AGENT}")], "Cmd": ["run"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", digest(&config));
    let manifest =
        json!([{"Config": config_name, "RepoTags": [NAME], "Layers": ["layer.tar"]}]).to_string();
    let file = File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    let mut archive = tar::Builder::new(file);
    append(&mut archive, &config_name, &config, 0o644)?;
    append(&mut archive, "layer.tar", &layer, 0o644)?;
    append(&mut archive, "manifest.json", manifest.as_bytes(), 0o644)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

/// Without time and owner, so that the same program gives the same image.
fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    Ok(archive.append_data(&mut header, name, bytes)?)
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
