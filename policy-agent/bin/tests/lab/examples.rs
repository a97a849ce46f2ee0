//! Every example meets its expectations on the wire, in both topologies.

use std::{fs, io, path::PathBuf};

use crate::program::{TOPOLOGIES, assert_code, lab, root};

/// Manifests of `examples/` that have expectations beside them.
fn pairs() -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir(root().join("examples"))? {
        let path = entry?.path();
        let expectations = path.with_extension("expect.yaml");
        if expectations.is_file() {
            pairs.push((path, expectations));
        }
    }
    pairs.sort();
    Ok(pairs)
}

fn all_hold(topology: &str) -> io::Result<()> {
    let pairs = pairs()?;
    assert!(!pairs.is_empty(), "there are examples");
    for (manifests, expectations) in pairs {
        let mut command = lab(&["--topology", topology, "-f"]);
        let output = command.arg(&manifests).arg("--expect").arg(&expectations).output()?;
        println!("{} in {topology}", manifests.display());
        assert_code(&output, 0);
    }
    Ok(())
}

#[test]
fn examples_hold_with_routed_veths() -> io::Result<()> {
    all_hold(TOPOLOGIES[0])
}

#[test]
fn examples_hold_on_bridges() -> io::Result<()> {
    all_hold(TOPOLOGIES[1])
}
