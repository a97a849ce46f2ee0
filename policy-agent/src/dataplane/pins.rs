//! The agent's folder on a bpffs: everything pinned there stays in force without the agent (S48).
//!
//! | Path | Holds |
//! |---|---|
//! | `maps/NAME` | a map of the object |
//! | `maps/allow_ID` | the allow map at index ID of `allow`; `allow_0` is an empty one that shows the shape |
//! | `maps/flows4_WORD`, `maps/new_flows4_WORD` | the flow tables of a pod, by its interface's word; `flows6` likewise |
//! | `maps/next_flows4_WORD` | a flow table that may not be at its place yet |
//! | `maps/version_N` | an empty folder: the version of the maps' meaning |
//! | `programs/NAME` | a loaded program |
//! | `links/NAME_IFINDEX` | the link of a program to an interface |
//! | `traces/IFINDEX` | an empty folder, locked by the process that traces this interface |
//! | `new/` | maps of another shape, until every link uses them |
//! | `old/` | maps that no link uses any more, about to be removed |
//! | `off/` | an empty folder: enforcement is switched off ([`crate::switch`]) |

mod others;
mod traces;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::error::DataplaneError;
pub use others::pinned_elsewhere;
pub(in crate::dataplane) use others::programs_elsewhere;
pub(in crate::dataplane) use traces::{TRACES, TraceClaim};

/// Version of the maps' meaning. Raise it when the meaning of a value changes but no size does.
const VERSION: &str = "version_1";

/// The folder, locked against other agents while this value lives.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    /// Whether the maps in use are those of `new`.
    staged: bool,
    lock: Flock<File>,
}

impl Pins {
    /// Opens the folder; creates it if its parent is on a bpffs.
    pub(super) fn open(root: &Path) -> Result<Self, DataplaneError> {
        let parent = root.parent().unwrap_or(root);
        if !is_on_bpffs(if root.exists() { root } else { parent })? {
            return Err(DataplaneError::NoBpffs { path: root.to_owned() });
        }
        for folder in [root, &root.join("links"), &root.join("programs")] {
            make(folder)?;
        }
        let pins = Self { root: root.to_owned(), staged: false, lock: lock(root)? };
        pins.tidy()?;
        Ok(pins)
    }

    /// Finishes or discards an exchange of maps that was interrupted.
    fn tidy(&self) -> Result<(), DataplaneError> {
        let [maps, new, old] = ["maps", "new", "old"].map(|name| self.root.join(name));
        // `unstage` renames twice. Killed between the two, it leaves no `maps`, and the programs already
        // use those of `new`. In every other case `new` is incomplete and no program uses it.
        if !maps.exists() && old.exists() && new.exists() {
            fs::rename(&new, &maps).map_err(failed("rename", &new))?;
        }
        remove(&new)?;
        remove(&old)
    }

    /// Creates missing folders again; returns how many. If the agent's own folder was removed, its
    /// lock went with it and is taken again.
    pub(super) fn mend(&mut self) -> Result<usize, DataplaneError> {
        let mut count = 0;
        let (root, maps) = (self.root.clone(), self.maps());
        let folders =
            [&root, &root.join("links"), &root.join("programs"), &maps, &maps.join(VERSION)];
        for folder in folders {
            if !folder.exists() {
                make(folder)?;
                count += 1;
                if *folder == root {
                    self.lock = lock(&root)?;
                }
            }
        }
        Ok(count)
    }

    /// The kernel ids of the programs that other agents pinned.
    pub(super) fn programs_elsewhere(&self) -> Result<BTreeSet<u32>, DataplaneError> {
        programs_elsewhere(&self.root)
    }

    /// The folder of the maps in use.
    pub(super) fn maps(&self) -> PathBuf {
        self.root.join(if self.staged { "new" } else { "maps" })
    }

    /// The folder of the maps that the attached programs use, if the agent writes others.
    pub(super) fn maps_before(&self) -> Option<PathBuf> {
        self.staged.then(|| self.root.join("maps"))
    }

    /// Whether the pinned maps have the same version of their meaning as this agent's.
    pub(super) fn is_of_this_version(&self) -> bool {
        self.root.join("maps").join(VERSION).is_dir()
    }

    /// Starts with an empty folder of maps, beside the existing one if there is one.
    pub(super) fn stage(&mut self) -> Result<(), DataplaneError> {
        self.staged = self.root.join("maps").exists();
        let folder = self.maps();
        make(&folder)?;
        make(&folder.join(VERSION))
    }

    /// Puts the new maps in place of the old ones, which are removed.
    pub(super) fn unstage(&mut self) -> Result<(), DataplaneError> {
        if !self.staged {
            return Ok(());
        }
        let [maps, new, old] = ["maps", "new", "old"].map(|name| self.root.join(name));
        // Two renames in place of an exchange: a bpffs has RENAME_EXCHANGE only from Linux 5.16 on.
        fs::rename(&maps, &old).map_err(failed("rename", &maps))?;
        fs::rename(&new, &maps).map_err(failed("rename", &new))?;
        self.staged = false;
        remove(&old)
    }

    /// The pin of a program's link to an interface.
    pub(super) fn link(&self, program: &str, ifindex: u32) -> PathBuf {
        self.root.join("links").join(format!("{program}_{ifindex}"))
    }

    /// The pin of a program.
    pub(super) fn program(&self, program: &str) -> PathBuf {
        self.root.join("programs").join(program)
    }

    /// Interfaces to which a program has a pinned link.
    pub(super) fn linked(&self, program: &str) -> Result<Vec<u32>, DataplaneError> {
        let names = names(&self.root.join("links"))?;
        let number = |name: &String| name.strip_prefix(program)?.strip_prefix('_')?.parse().ok();
        Ok(names.iter().filter_map(number).collect())
    }

    /// Indexes of the pinned allow maps.
    pub(super) fn allow_maps(folder: &Path) -> Result<Vec<u32>, DataplaneError> {
        let number = |name: &String| name.strip_prefix("allow_")?.parse().ok();
        Ok(names(folder)?.iter().filter_map(number).collect())
    }
}

/// Whether a path is on a bpffs, the only file system that holds pins.
///
/// # Errors
///
/// [`DataplaneError::Pins`] where it cannot be inspected.
pub fn is_on_bpffs(place: &Path) -> Result<bool, DataplaneError> {
    let kind = statfs(place).map_err(|errno| failed("inspect", place)(errno.into()))?;
    Ok(kind.filesystem_type() == BPF_FS_MAGIC)
}

/// Locks the folder against other agents.
pub(super) fn lock(root: &Path) -> Result<Flock<File>, DataplaneError> {
    let folder = File::open(root).map_err(failed("open", root))?;
    // The kernel gives the lock up when the agent ends, however it ends; a lock file would stay.
    Flock::lock(folder, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, source)| DataplaneError::PinsBusy { path: root.to_owned(), source })
}

/// Whether a name is one of `stems`, `_` and a number.
pub(super) fn is_numbered(name: &str, stems: &[&str]) -> bool {
    let Some((stem, number)) = name.rsplit_once('_') else { return false };
    stems.contains(&stem) && number.parse::<u32>().is_ok()
}

/// The pin of an allow map.
pub(super) fn allow_map(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("allow_{number}"))
}

/// Removes a file, or a folder with its content, if it exists.
pub(super) fn remove(path: &Path) -> Result<(), DataplaneError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(failed("remove", path)),
    }
}

fn make(folder: &Path) -> Result<(), DataplaneError> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(failed("create", folder)),
    }
}

pub(super) fn names(folder: &Path) -> Result<Vec<String>, DataplaneError> {
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    let entries: io::Result<Vec<_>> = entries.collect();
    let entries = entries.map_err(failed("list", folder))?;
    Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

pub(super) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataplaneError {
    let path = path.to_owned();
    move |source| DataplaneError::Pins { act, path, source }
}
