//! `cargo xtask image`: builds the image of the agent, and that of the program in the pods of tests,
//! without a container engine.
//!
//! An image is a tar archive of a manifest, a configuration and one layer; the layer is a tar
//! archive of the programs and the shared libraries that they need.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::bootstrap::{self, Purpose};
use crate::bpf;
use crate::build::{self, CNI, Profile};
use crate::command::{answer, command, workspace};
use crate::progress::Steps;

/// The image's name in `manifests/install.yaml`.
const NAME: &str = concat!("policy-agent:", env!("CARGO_PKG_VERSION"));

/// The name of another build, for tests of an upgrade: the same agent and a second eBPF object.
pub const OTHER_NAME: &str = concat!("policy-agent:", env!("CARGO_PKG_VERSION"), "-other");

/// Path of the second eBPF object in that image.
pub const OTHER_OBJECT: &str = "/policy-v2.o";

/// The program that tests run in pods, and its package.
pub const POD: &str = "policy-pod";

/// The name of its image in the pods of tests.
pub const POD_IMAGE: &str = concat!("policy-pod:", env!("CARGO_PKG_VERSION"));

/// What an image holds.
pub struct Content {
    /// Programs for the root folder; a container starts the first one.
    pub programs: Vec<PathBuf>,
    /// Shared libraries, each at the path that it has on this machine.
    pub libraries: Vec<PathBuf>,
    /// Default arguments of the first program.
    pub arguments: &'static [&'static str],
}

/// Builds the agent and the CNI plugin that it installs, and an image of nothing else.
///
/// Returns the path of an archive as `docker load`, `ctr images import` and
/// `kind load image-archive` take it.
pub fn build(profile: Profile) -> Result<PathBuf> {
    let file = match profile {
        Profile::Release => "target/image.tar",
        Profile::Debug => "target/debug-image.tar",
    };
    build_with(profile, &[], NAME, file)
}

/// Builds an image of another name, which also has an object with other instructions.
pub fn build_other(profile: Profile) -> Result<PathBuf> {
    let object = bpf::build_other(bootstrap::run(Purpose::Build)?)?;
    build_with(profile, &[object], OTHER_NAME, "target/other-image.tar")
}

fn build_with(profile: Profile, more: &[PathBuf], name: &str, file: &str) -> Result<PathBuf> {
    let mut programs = programs_to_install(profile)?;
    let libraries = libraries(&programs[0])?;
    programs.extend_from_slice(more);
    let image = workspace().join(file);
    write(&Content { programs, libraries, arguments: &["run"] }, name, &image)?;
    println!("{name} in {}", image.display());
    Ok(image)
}

/// The agent without the lab, and the plugin, which runs on the node itself and so needs to be
/// static: a node may have older libraries than the image, or none.
fn programs_to_install(profile: Profile) -> Result<Vec<PathBuf>> {
    let mut steps = Steps::new(4);
    let compiler =
        steps.run("installing what the machine lacks", || bootstrap::run(Purpose::Build))?;
    steps.run("building the eBPF object", || bpf::build(compiler))?;
    let agent = steps.run("building policy-agent", || build::build_agent_without_lab(profile))?;
    let plugin = steps.run("building policy-cni", || build::build_static(CNI, profile))?;
    Ok(vec![agent, plugin])
}

/// Builds the program that tests run in pods, and an image of nothing else.
pub fn build_pod() -> Result<PathBuf> {
    let image = workspace().join("target/pod-image.tar");
    let programs = vec![build_pod_program()?];
    write(&Content { programs, libraries: Vec::new(), arguments: &["pause"] }, POD_IMAGE, &image)?;
    Ok(image)
}

/// Builds that program alone, and returns its path.
pub fn build_pod_program() -> Result<PathBuf> {
    build::build_static(POD, Profile::Release)
}

/// The shared libraries that a program needs, with the dynamic loader.
pub fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let list = answer(command("ldd").arg(program)).context("ldd failed")?;
    Ok(list.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes an archive of one layer (Docker Image Specification v1.2).
pub fn write(content: &Content, name: &str, image: &Path) -> Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    // Mount points for the container runtime, and for volumes of temporary files.
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
