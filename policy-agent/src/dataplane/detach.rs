//! Removes what an agent pinned, and nothing else, because others pin on the same bpffs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use crate::switch;

use super::{
    attach::Attached,
    error::DataplaneError,
    filters::Filters,
    object,
    options::Options,
    pins::{TRACES, failed, is_numbered, is_on_bpffs, lock, names, programs_elsewhere, remove},
    pod_program::NAMES,
};

/// Folders of the agent, in the order of removal: links first, so that no program runs while its
/// maps are being removed.
const FOLDERS: [&str; 7] = ["links", TRACES, "programs", "maps", "new", "old", switch::OFF];

/// Names of pinned maps and folders with a number behind them.
const NUMBERED: [&str; 10] = [
    "allow",
    "version",
    "flows4",
    "flows6",
    "new_flows4",
    "new_flows6",
    "next_flows4",
    "next_flows6",
    "next_new_flows4",
    "next_new_flows6",
];

/// What [`detach`] removed, and what it left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// How many pins were removed.
    pub removed: usize,
    /// How many filters of clsact qdiscs were removed.
    pub filters: usize,
    /// Files of others in the folder, which stay.
    pub left: Vec<PathBuf>,
}

/// Removes everything that an agent pinned, and its filters on interfaces of the calling thread's
/// network namespace: from then on every packet passes.
///
/// A folder that does not exist or is empty counts as detached, and stays as it is; filters, which
/// need no folder, are removed in any case.
///
/// # Errors
///
/// [`DataplaneError::NoPins`] on another file system; [`DataplaneError::NotPins`] if the folder holds
/// only files of others; [`DataplaneError::PinsBusy`] while an agent runs; or if a pin cannot be
/// removed.
pub fn detach(root: &Path) -> Result<Detached, DataplaneError> {
    // A folder that this user may not see is an error: its pins would stay in force.
    let is_there = root.try_exists().map_err(failed("inspect", root))?;
    if is_there && !is_on_bpffs(root)? {
        return Err(DataplaneError::NoPins { path: root.to_owned() });
    }
    let holds = if is_there { names(root)? } else { Vec::new() };
    if holds.is_empty() {
        return Ok(Detached { filters: remove_filters(root)?, ..Detached::default() });
    }
    let Some(own) = own_pins(root)? else {
        return Err(DataplaneError::NotPins { path: root.to_owned(), holds: holds.join(", ") });
    };
    let _claim = lock(root)?;
    let filters = remove_filters(root)?;
    own.iter().try_for_each(|pin| remove(pin))?;
    for folder in FOLDERS {
        remove_if_empty(&root.join(folder))?;
    }
    remove_if_empty(root)?;
    Ok(Detached { removed: own.len(), filters, left: left(root)? })
}

/// The agent's pins, in the order of removal; `None` if no subfolder is an agent's.
fn own_pins(root: &Path) -> Result<Option<Vec<PathBuf>>, DataplaneError> {
    let maps = object::shapes(&Options::default())?;
    let is_own = |folder: &str, name: &str| match folder {
        "links" => is_numbered(name, &NAMES),
        "programs" => NAMES.contains(&name),
        TRACES => name.parse::<u32>().is_ok(),
        _ => maps.contains_key(name) || is_numbered(name, &NUMBERED),
    };
    let mut own = Vec::new();
    let mut is_agents = false;
    for folder in FOLDERS {
        let path = root.join(folder);
        if !path.is_dir() {
            continue;
        }
        let names = names(&path)?;
        let before = own.len();
        own.extend(names.iter().filter(|name| is_own(folder, name)).map(|name| path.join(name)));
        is_agents |= names.is_empty() || own.len() > before;
    }
    Ok(is_agents.then_some(own))
}

/// Removes the agent's filters, and returns how many there were; those of an agent with another
/// folder of pins stay.
fn remove_filters(root: &Path) -> Result<usize, DataplaneError> {
    let all = Filters::open(programs_elsewhere(root)?)?.find_all()?;
    let count = all.len();
    for (ifindex, _, filter) in all {
        Attached::Filter(filter).detach(ifindex)?;
    }
    Ok(count)
}

/// Removes a folder, unless it is missing, not empty, not a folder, or a mount point.
fn remove_if_empty(folder: &Path) -> Result<(), DataplaneError> {
    let Err(error) = fs::remove_dir(folder) else { return Ok(()) };
    let stays = [Errno::ENOENT, Errno::ENOTEMPTY, Errno::EBUSY, Errno::ENOTDIR];
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) if stays.contains(&errno) => Ok(()),
        _ => Err(failed("remove", folder)(error)),
    }
}

/// The remaining files of a folder; those in the agent's subfolders are listed one by one.
fn left(root: &Path) -> Result<Vec<PathBuf>, DataplaneError> {
    let mut left = Vec::new();
    let there = match names(root) {
        Err(DataplaneError::Pins { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Vec::new()
        }
        there => there?,
    };
    for name in there {
        let path = root.join(&name);
        if FOLDERS.contains(&name.as_str()) && path.is_dir() {
            left.extend(names(&path)?.iter().map(|name| path.join(name)));
        } else {
            left.push(path);
        }
    }
    left.sort();
    Ok(left)
}
