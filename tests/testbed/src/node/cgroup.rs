//! The cgroups below which a node's pods live, in either version of the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::layout::Layout;

const TREE: &str = "/sys/fs/cgroup";

/// Makes a node's cgroup in every hierarchy.
pub(super) fn make(layout: &Layout, node: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(layout.prefixed(node));
        let make = || {
            fs::create_dir_all(&path)?;
            // A new cpuset has no processors, and no process can join it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if path.join(file).exists() && hierarchy.join(file).exists() {
                    fs::write(path.join(file), fs::read(hierarchy.join(file))?)?;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        make().with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

/// Removes the cgroups of every node, as soon as they have no processes.
pub(crate) fn remove(layout: &Layout) {
    for _ in 0..50 {
        let own = trees().unwrap_or_default().into_iter().flat_map(|hierarchy| below(&hierarchy));
        let own = own.filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&layout.prefix))
        });
        if own.filter(|path| !remove_tree(path)).count() == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether all of it could be removed.
fn remove_tree(path: &Path) -> bool {
    let left = below(path).iter().filter(|child| !remove_tree(child)).count();
    left == 0 && fs::remove_dir(path).is_ok()
}

/// The hierarchies that have controllers.
fn hierarchies() -> Result<Vec<PathBuf>> {
    Ok(trees()?.into_iter().filter(|path| !path.ends_with("unified")).collect())
}

/// All hierarchies: a runtime also makes cgroups in the one without controllers.
fn trees() -> Result<Vec<PathBuf>> {
    let tree = Path::new(TREE);
    if tree.join("cgroup.controllers").exists() {
        return Ok(vec![tree.to_path_buf()]);
    }
    let entries = fs::read_dir(tree).with_context(|| format!("cannot read {TREE}"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    // Symbolic links are second names of the same hierarchies.
    Ok(paths.filter(|path| !path.is_symlink() && path.is_dir()).collect())
}

fn below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
