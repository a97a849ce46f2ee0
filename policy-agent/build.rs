//! Gives the crate the path of the eBPF object that it embeds.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Names another object than the one that the workspace's build leaves behind.
const OBJECT: &str = "POLICY_BPF_OBJECT";

fn main() -> Result<(), String> {
    let built = || {
        // As it is when this runs: a build script is shared between copies of the sources.
        let crate_folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
        Path::new(&crate_folder).join("../target/bpf/policy.o")
    };
    let object = env::var_os(OBJECT).map_or_else(built, PathBuf::from);
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-changed={}", object.display());
    let object = object.canonicalize().map_err(|error| {
        format!("no eBPF object at {}: {error}; run `cargo xtask build`", object.display())
    })?;
    println!("cargo::rustc-env={OBJECT}={}", object.display());
    Ok(())
}
