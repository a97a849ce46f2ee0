//! Finds pins of another agent on the same bpffs: one that runs, or one that ended and left its
//! programs in force (S48).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use aya::programs::ProgramInfo;

use super::{is_numbered, is_on_bpffs, names};
use crate::dataplane::{error::DataplaneError, pod_program::NAMES};

/// How many levels below the root of the bpffs are searched.
const DEPTH: usize = 4;

/// Folders other than `own` that hold an agent's programs, on the bpffs of `own`.
#[must_use]
pub fn pinned_elsewhere(own: &Path) -> Vec<PathBuf> {
    let own = fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
    let is_bpffs = |folder: &&Path| is_on_bpffs(folder).unwrap_or(false);
    let above = own.ancestors().skip_while(|folder| !is_bpffs(folder)).take_while(is_bpffs);
    let mut found = Vec::new();
    if let Some(root) = above.last() {
        search(root, &own, DEPTH, &mut found);
    }
    found
}

/// The kernel ids of the programs that other agents pinned, on the bpffs of `own`.
pub(in crate::dataplane) fn programs_elsewhere(
    own: &Path,
) -> Result<BTreeSet<u32>, DataplaneError> {
    let mut ids = BTreeSet::new();
    for folder in pinned_elsewhere(own) {
        for name in NAMES {
            let path = folder.join("programs").join(name);
            match ProgramInfo::from_pin(&path) {
                Ok(program) => drop(ids.insert(program.id())),
                Err(_) if !path.exists() => {}
                Err(source) => {
                    return Err(DataplaneError::ReadProgram { path, source: Box::new(source) });
                }
            }
        }
    }
    Ok(ids)
}

fn search(folder: &Path, own: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    // A folder that cannot be listed is skipped.
    let mut folders: Vec<_> = names(folder).unwrap_or_default();
    folders.sort();
    for folder in folders.into_iter().map(|name| folder.join(name)) {
        if folder == own || !fs::symlink_metadata(&folder).is_ok_and(|about| about.is_dir()) {
            continue;
        }
        if is_agents(&folder) {
            found.push(folder);
        } else if let Some(depth) = depth.checked_sub(1) {
            search(&folder, own, depth, found);
        }
    }
}

/// Whether a folder holds a link or a program with an agent's names.
fn is_agents(folder: &Path) -> bool {
    let of = |name: &str| names(&folder.join(name)).unwrap_or_default();
    of("links").iter().any(|name| is_numbered(name, &NAMES))
        || of("programs").iter().any(|name| NAMES.contains(&&**name))
}
