//! `cargo xtask bpf`: builds the eBPF object, and refuses one that is needlessly slow or that old kernels do not load.

mod calls;
mod stack;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::bootstrap::compiler::Compiler;
use crate::bootstrap::tools::BPF_LINKER;
use crate::command::{cargo, run, workspace};

/// Little-endian, as every machine that Kubernetes supports except s390x.
const TARGET: &str = "bpfel-unknown-none";

/// Builds the objects that the agent embeds, and leaves them in `target/bpf`: `policy.o`, and
/// `policy-trace.o`, the same programs with the lines of `policy-agent trace`.
///
/// Returns the path of the first. A file is written only if its content changed, so that cargo does not
/// compile the crates again that embed it.
pub fn build(compiler: Compiler) -> Result<PathBuf> {
    build_as(compiler, &["--features", "trace"], &[], "policy-trace.o")?;
    build_as(compiler, &[], &[], "policy.o")
}

/// Builds the object for version 2 of the instruction set, and leaves it in
/// `target/bpf/policy-v2.o`: the same programs with other instructions, for tests of an upgrade.
pub fn build_other(compiler: Compiler) -> Result<PathBuf> {
    build_as(compiler, &[], &["-Ctarget-cpu=v2"], "policy-v2.o")
}

fn build_as(compiler: Compiler, options: &[&str], flags: &[&str], name: &str) -> Result<PathBuf> {
    let folder = workspace().join("target/bpf");
    run(cargo_build(compiler)?.args(options).arg("--").args(flags))?;
    let built = folder.join(TARGET).join("release/policy-ebpf");
    let object = folder.join(name);
    check(&built)?;
    copy_if_changed(&built, &object)?;
    Ok(object)
}

/// Refuses programs that are needlessly slow, or that old kernels do not load.
fn check(built: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("{} is no object", built.display()))?;
    calls::refuse_memory_functions(&file)?;
    stack::refuse_deep_stacks(&file)
}

/// The target folder is a separate one: the flags differ, and a build for the host can run at the
/// same time.
fn cargo_build(compiler: Compiler) -> Result<Command> {
    let linker = BPF_LINKER.ensure()?;
    let flags = [
        &format!("-Clinker={}", linker.display()),
        // Type information for the kernel and bpftool.
        "-Clink-arg=--btf",
        "-Cdebuginfo=2",
        &format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
    ];
    let mut build = cargo();
    compiler.apply(&mut build);
    build
        .args(["rustc", "--package", "policy-ebpf", "--release", "--target", TARGET])
        .args(["-Zbuild-std=core", "--target-dir", "target/bpf"])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // The linker optimises the program as a whole.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    Ok(build)
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::copy_if_changed;

    #[test]
    fn an_unchanged_object_is_left_alone() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "object")?;
        copy_if_changed(&from, &to)?;
        let first = fs::metadata(&to)?.modified()?;
        copy_if_changed(&from, &to)?;
        assert_eq!(fs::metadata(&to)?.modified()?, first);
        fs::write(&from, "another")?;
        copy_if_changed(&from, &to)?;
        assert_eq!(fs::read(&to)?, b"another");
        Ok(())
    }
}
