//! Folders of the same bpffs in which another agent pinned: one that runs, or one that ran with
//! another folder and whose programs go on (S48).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{super::attach::CLASSIFIERS, detach::is_numbered, names, require_bpffs};

/// How far below the root of the bpffs a folder of pins is looked for.
const DEPTH: usize = 4;

/// Folders with classifiers of an agent that are not `own`, on the bpffs where that is.
#[must_use]
pub fn pinned_elsewhere(own: &Path) -> Vec<PathBuf> {
    let own = fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
    let is_bpffs = |folder: &&Path| require_bpffs(folder).is_ok();
    let above = own.ancestors().skip_while(|folder| !is_bpffs(folder)).take_while(is_bpffs);
    let mut found = Vec::new();
    if let Some(root) = above.last() {
        search(root, &own, DEPTH, &mut found);
    }
    found
}

fn search(folder: &Path, own: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    // Whatever cannot be listed is not found.
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

/// Whether a folder holds a link or a program as an agent names them.
fn is_agents(folder: &Path) -> bool {
    let of = |name: &str| names(&folder.join(name)).unwrap_or_default();
    of("links").iter().any(|name| is_numbered(name, &CLASSIFIERS))
        || of("programs").iter().any(|name| CLASSIFIERS.contains(&&**name))
}
