//! Gives the crate the paths of the eBPF objects that it embeds.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The variables that name other objects than those that the workspace's build leaves behind, and these.
const OBJECTS: [(&str, &str); 2] =
    [("POLICY_BPF_OBJECT", "policy.o"), ("POLICY_BPF_TRACING_OBJECT", "policy-trace.o")];

fn main() -> Result<(), String> {
    // As it is when this runs: a build script is shared between copies of the sources.
    let crate_folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let folder = Path::new(&crate_folder).join("../target/bpf");
    for (variable, file) in OBJECTS {
        let object = env::var_os(variable).map_or_else(|| folder.join(file), PathBuf::from);
        println!("cargo::rerun-if-env-changed={variable}");
        println!("cargo::rerun-if-changed={}", object.display());
        let object = object.canonicalize().map_err(|error| {
            format!("no eBPF object at {}: {error}; run `cargo xtask build`", object.display())
        })?;
        println!("cargo::rustc-env={variable}={}", object.display());
    }
    Ok(())
}
