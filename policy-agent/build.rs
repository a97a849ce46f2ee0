//! Tells the crate where the eBPF object is that it carries.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Names another object than the one that the workspace's build leaves behind.
const OBJECT: &str = "POLICY_BPF_OBJECT";

fn main() -> Result<(), String> {
    let object = match env::var_os(OBJECT) {
        Some(object) => PathBuf::from(object),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/policy.o"),
    };
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-changed={}", object.display());
    let object = object.canonicalize().map_err(|error| {
        format!(
            "no eBPF object at {}: {error}; run `cargo xtask build`",
            object.display()
        )
    })?;
    println!("cargo::rustc-env={OBJECT}={}", object.display());
    Ok(())
}
