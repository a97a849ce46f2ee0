//! The initramfs: busybox, the tools that tests call, the programs under test with their libraries, and
//! the kernel's modules.
//!
//! Everything has the path that it has on this machine, because tests name the agent and the examples
//! by absolute paths. `/init` is a script that loads the modules, runs the steps and switches off.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::bootstrap::packages::find;
use xtask::command::{answer, command, run, workspace};
use xtask::image;

use super::packages::Kernel;
use super::steps::{self, Programs};

/// Tools that tests start. Busybox has others of the same names, so they come before it in `PATH`.
const TOOLS: [&str; 4] = ["ip", "nft", "tc", "bpftool"];

/// Modules that the tests need, by the start of their names; what they depend on is added.
const MODULES: [&str; 12] = [
    "veth",
    "sch_ingress",
    "cls_bpf",
    "cls_u32",
    "nft_",
    "nf_nat",
    "nf_conntrack",
    "bridge",
    "br_netfilter",
    "vxlan",
    "geneve",
    "sctp",
];

/// Builds the archive for one kernel; returns its path.
pub(super) fn build(kernel: &Kernel, programs: &Programs) -> Result<PathBuf> {
    let root = workspace().join("target/kernels").join(&kernel.release);
    let _ = fs::remove_dir_all(&root);
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "run/netns", "var/run", "modules"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let busybox = find("busybox").context("no busybox")?;
    copy(&busybox, &root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/sh"))?;
    for tool in TOOLS {
        add(&root, &find(tool).with_context(|| format!("no {tool}"))?)?;
    }
    for program in programs.paths() {
        add(&root, program)?;
    }
    for folder in ["examples", "target/bpf"] {
        copy_folder(&workspace().join(folder), &root)?;
    }
    let modules = add_modules(kernel, &root)?;
    let init = root.join("init");
    fs::write(&init, steps::script(&kernel.release, programs, &modules)?)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let image = root.with_extension("cpio.gz");
    let pack = "find . | cpio --quiet -o -H newc | gzip -1";
    run(command("sh").args(["-c", &format!("{pack} > \"$0\"")]).arg(&image).current_dir(&root))?;
    fs::remove_dir_all(&root)?;
    Ok(image)
}

/// Adds a program without its debug information, and the libraries that it needs.
fn add(root: &Path, program: &Path) -> Result<()> {
    let to = inside(root, program);
    copy(program, &to)?;
    // A program that is stripped already stays as it is.
    let _ = answer(command("strip").arg(&to));
    // A static program has none.
    for library in image::libraries(program).unwrap_or_default() {
        copy(&library, &inside(root, &library))?;
    }
    Ok(())
}

/// Adds the modules, decompressed; returns their names in the order in which they can be loaded.
fn add_modules(kernel: &Kernel, root: &Path) -> Result<Vec<String>> {
    let Kernel { release, modules, .. } = kernel;
    let base = modules.ancestors().nth(3).context("no root of the modules")?;
    run(command("depmod").arg("--basedir").arg(base).arg(release))?;
    let list = fs::read_to_string(modules.join("modules.dep"))?;
    let lines = list.lines().filter_map(|line| line.split_once(':'));
    let needs: BTreeMap<&str, Vec<&str>> =
        lines.map(|(path, needs)| (path, needs.split_whitespace().collect())).collect();
    let mut order = Vec::new();
    for path in needs.keys() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if MODULES.iter().any(|wanted| name.starts_with(wanted)) {
            // `modules.dep` lists what is needed last first.
            let all = needs[path].iter().rev().chain([path]);
            for path in all {
                if !order.contains(path) {
                    order.push(*path);
                }
            }
        }
    }
    let mut names = Vec::new();
    for path in order {
        let name = path.rsplit('/').next().unwrap_or(path);
        let to = root.join("modules").join(name);
        copy(&modules.join(path), &to)?;
        let compressed = path.strip_suffix(".xz").is_some();
        if compressed {
            run(command("xz").arg("--decompress").arg(&to))?;
        }
        names.push(name.trim_end_matches(".xz").to_owned());
    }
    Ok(names)
}

/// The path of a file of this machine inside of another root folder.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn copy_folder(folder: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        // Objects and texts, not what a build left beside them.
        if path.is_file() {
            copy(&path, &inside(root, &path))?;
        }
    }
    Ok(())
}
