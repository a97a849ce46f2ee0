//! `cargo xtask image`: images of the agent and of what tests run in pods, built without any
//! container engine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::bootstrap::{self, Purpose};
use crate::bpf;
use crate::build::{self, AGENT, CNI};
use crate::command::{answer, cargo, command, run, workspace};

/// As `manifests/install.yaml` names it.
const NAME: &str = concat!("policy-agent:", env!("CARGO_PKG_VERSION"));

/// Another build, as an update would bring it: the same agent, with other programs beside it.
pub const OTHER_NAME: &str = concat!("policy-agent:", env!("CARGO_PKG_VERSION"), "-other");

/// Where that image has them.
pub const OTHER_OBJECT: &str = "/policy-v2.o";

/// The package of what tests run in pods, and of its program.
pub const POD: &str = "policy-pod";

/// As pods of tests name it.
pub const POD_IMAGE: &str = concat!("policy-pod:", env!("CARGO_PKG_VERSION"));

/// How the agent of an image is built.
#[derive(Clone, Copy, Debug)]
pub enum Build {
    /// As it is installed: one static program.
    Release,
    /// As the tests have built it already, with the libraries that it then needs.
    Debug,
}

/// What an image holds.
pub struct Content {
    /// Programs of the root folder, the one that is started first.
    pub programs: Vec<PathBuf>,
    /// What else it holds, each at its own path.
    pub libraries: Vec<PathBuf>,
    /// What the program is started with where nothing else is said.
    pub arguments: &'static [&'static str],
}

/// Builds the agent and the CNI plugin that it installs, and an image of nothing else.
///
/// Returns the path of an archive as `docker load`, `ctr images import` and
/// `kind load image-archive` take it.
pub fn build(build: Build) -> Result<PathBuf> {
    let file = match build {
        Build::Release => "target/image.tar",
        Build::Debug => "target/debug-image.tar",
    };
    build_with(build, &[], NAME, file)
}

/// Builds an image of another name, which has the same classifiers as other programs too.
pub fn build_other(build: Build) -> Result<PathBuf> {
    let object = bpf::build_other(bootstrap::run(Purpose::Build)?)?;
    build_with(build, &[object], OTHER_NAME, "target/other-image.tar")
}

fn build_with(build: Build, more: &[PathBuf], name: &str, file: &str) -> Result<PathBuf> {
    let folder = match build {
        Build::Release => {
            bpf::build(bootstrap::run(Purpose::Build)?)?;
            build_static(&[AGENT, CNI])?
        }
        Build::Debug => build::build(Purpose::Build, &[AGENT, CNI], true)?,
    };
    let mut programs: Vec<_> = [AGENT, CNI].map(|name| folder.join(name)).into();
    let libraries = match build {
        Build::Release => Vec::new(),
        Build::Debug => libraries(&programs[0])?,
    };
    programs.extend_from_slice(more);
    let image = workspace().join(file);
    write(&Content { programs, libraries, arguments: &["run"] }, name, &image)?;
    println!("{name} in {}", image.display());
    Ok(image)
}

/// Builds what tests run in pods, and an image of nothing else.
pub fn build_pod() -> Result<PathBuf> {
    let image = workspace().join("target/pod-image.tar");
    let programs = vec![build_pod_program()?];
    write(&Content { programs, libraries: Vec::new(), arguments: &["pause"] }, POD_IMAGE, &image)?;
    Ok(image)
}

/// Builds that program alone; where it lies.
pub fn build_pod_program() -> Result<PathBuf> {
    Ok(build_static(&[POD])?.join(POD))
}

/// The libraries that a program needs, the one that loads them among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let list = answer(command("ldd").arg(program)).context("ldd does not answer")?;
    Ok(list.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Builds programs that need no library; the folder in which they lie.
///
/// A target is named so that the flags are the programs' alone, and not those of macros too.
fn build_static(programs: &[&str]) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = workspace().join("target/image");
    let mut build = cargo();
    build.args(["build", "--release", "--target", &target]);
    // The agent of an image has no lab.
    build.arg("--no-default-features");
    for program in programs {
        build.args(["--package", build::package(program)]);
    }
    run(build.arg("--target-dir").arg(&folder).env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(folder.join(target).join("release"))
}

/// Writes an archive of one layer (Docker Image Specification v1.2).
pub fn write(content: &Content, name: &str, image: &Path) -> Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    // Mount points of what a runtime brings, and of volumes for temporary files.
    for folder in ["dev", "etc", "proc", "sys", "tmp"] {
        append_folder(&mut layer, folder)?;
    }
    let names: Vec<_> =
        content.programs.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    for (name, path) in names.iter().zip(&content.programs) {
        append(&mut layer, name, &read(path)?, 0o755)?;
    }
    for library in &content.libraries {
        let inside = library.to_string_lossy();
        append(&mut layer, inside.trim_start_matches('/'), &read(library)?, 0o755)?;
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
        "config": {"Entrypoint": [format!("/{}", names[0])], "Cmd": content.arguments},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", digest(&config));
    let manifest =
        json!([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).to_string();
    let file = File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    let mut archive = tar::Builder::new(file);
    append(&mut archive, &config_name, &config, 0o644)?;
    append(&mut archive, "layer.tar", &layer, 0o644)?;
    append(&mut archive, "manifest.json", manifest.as_bytes(), 0o644)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

fn append_folder(archive: &mut tar::Builder<impl Write>, name: &str) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(if name == "tmp" { 0o1777 } else { 0o755 });
    header.set_size(0);
    header.set_cksum();
    Ok(archive.append_data(&mut header, name, std::io::empty())?)
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

/// A SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
