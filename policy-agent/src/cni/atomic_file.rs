//! Replaces files of the node atomically: a reader always finds the old or the new content, complete.
//!
//! The new content is written to a hidden file beside the old one (`.10-net.conflist.policy-cni-new`),
//! which then takes its place by `rename`.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use policy_cni::PLUGIN;
use thiserror::Error;

use super::conflist::ConflistError;

/// Extensions of files that a runtime reads as configurations. It uses the first file by name.
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

/// How many times an edit is tried while another program writes the file.
const ATTEMPTS: usize = 5;

/// Why the plugin cannot be installed or removed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// An operation on a file or folder failed.
    #[error("cannot {operation} {path}")]
    File {
        /// The operation.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The folder has no configuration.
    #[error("{0} has no CNI configuration yet; the node's network add-on must write one first")]
    NoConfiguration(PathBuf),
    /// The plugin cannot be added to a configuration.
    #[error("cannot chain the plugin in {path}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConflistError,
    },
    /// A configuration names the plugin, which cannot be removed from it.
    #[error("cannot remove the plugin from {path}, so its program stays")]
    StillUsed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConflistError,
    },
    /// An agent is running, and would install the plugin again.
    #[error("an agent answers at {0}: stop it first; the plugin and the socket stay until then")]
    AgentRunning(PathBuf),
    /// Another program wrote the file during each attempt to edit it.
    #[error("another program keeps writing {0}")]
    Contended(PathBuf),
}

/// The configurations in a folder, by name; none where it does not exist.
pub(super) fn configurations(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let is_one = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
    };
    let mut paths = list(folder)?;
    paths.retain(is_one);
    paths.sort();
    Ok(paths)
}

/// The entries of a folder, in any order; none where it does not exist.
fn list(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", folder))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(failed("list", folder))
}

/// Reads a file as text.
pub(super) fn read(path: &Path) -> Result<String, InstallError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// Replaces the text of a file with what `change` returns, if it returns any; whether it did. Mode and
/// owner stay. What another program writes at the same time is not lost: the file is read once more
/// before it is replaced. `meanwhile` runs between the two reads, for tests.
pub(super) fn edit(
    path: &Path,
    change: impl Fn(&str) -> Result<Option<String>, InstallError>,
    mut meanwhile: impl FnMut(),
) -> Result<bool, InstallError> {
    for _ in 0..ATTEMPTS {
        let about = fs::metadata(path).map_err(failed("read the mode of", path))?;
        let before = read(path)?;
        let Some(after) = change(&before)? else { return Ok(false) };
        let new = NewFile::write(path, after.as_bytes(), about.mode() & 0o7777)?;
        new.set_owner(about.uid(), about.gid());
        meanwhile();
        // The rename follows directly, so that the time for another write is as short as possible.
        if fs::read(path).is_ok_and(|text| text == before.as_bytes()) {
            new.take_place()?;
            return Ok(true);
        }
    }
    Err(InstallError::Contended(path.to_owned()))
}

/// Writes a file, whether or not it exists.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    NewFile::write(path, content, mode)?.take_place()
}

/// Removes new files that a killed agent left in a folder.
pub(super) fn remove_new_files(folder: &Path) -> Result<(), InstallError> {
    let is_new_file = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.') && name.ends_with(&new_file_suffix())
    };
    list(folder)?.iter().filter(is_new_file).try_for_each(|path| remove(path))
}

/// Removes a file, whether or not it exists.
pub(super) fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

/// The error of an operation on a path.
pub(super) fn failed(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { operation, path, source }
}

fn new_file_suffix() -> String {
    format!(".{PLUGIN}-new")
}

/// A new file beside the one that it will replace; removed when this is dropped before that.
struct NewFile<'a> {
    place: &'a Path,
    path: PathBuf,
    file: File,
}

impl<'a> NewFile<'a> {
    fn write(place: &'a Path, content: &[u8], mode: u32) -> Result<Self, InstallError> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        // A runtime ignores this name in folders of configurations and of plugins.
        let path = place.with_file_name(format!(".{name}{}", new_file_suffix()));
        remove(&path)?;
        let file = File::create_new(&path).map_err(failed("write", &path))?;
        let mut new = Self { place, path, file };
        let written = new.file.write_all(content).and_then(|()| {
            new.file.set_permissions(Permissions::from_mode(mode))?;
            new.file.sync_all()
        });
        written.map_err(failed("write", place))?;
        Ok(new)
    }

    /// Sets the owner, if the agent may; otherwise root owns the file, which the runtime can read too.
    fn set_owner(&self, user: u32, group: u32) {
        let about = self.file.metadata();
        if about.is_ok_and(|about| (about.uid(), about.gid()) != (user, group)) {
            let _ = fchown(&self.file, Some(user), Some(group));
        }
    }

    fn take_place(self) -> Result<(), InstallError> {
        fs::rename(&self.path, self.place).map_err(failed("write", self.place))
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        // After the rename nothing has this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends `!` to a file; another program writes each of `others` between two reads.
    fn add(path: &Path, others: &[&str]) -> Result<bool, InstallError> {
        let mut others = others.iter();
        let change = |text: &str| Ok((!text.ends_with('!')).then(|| format!("{text}!")));
        edit(path, change, || {
            if let Some(other) = others.next() {
                fs::write(path, other).expect("a file");
            }
        })
    }

    #[test]
    fn what_another_program_writes_at_the_same_time_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("10-net.conflist");
        let text = || fs::read_to_string(&path).expect("a file");
        let write = |text: &str| fs::write(&path, text).expect("a file");
        write("one");
        assert!(add(&path, &["two", "three"]).expect("an edit"));
        assert_eq!(text(), "three!");
        assert!(!add(&path, &[]).expect("nothing to change"));
        write("one");
        assert!(!add(&path, &["two!"]).expect("it is as wanted meanwhile"));
        assert_eq!(text(), "two!");
        write("one");
        let others = ["2", "3", "4", "5", "6", "7"];
        let error = add(&path, &others).expect_err("without end").to_string();
        assert!(error.contains("10-net.conflist") && text() == "6", "{error}");
        let there = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(there, 1, "a file is left");
    }

    #[test]
    fn a_file_that_is_removed_meanwhile_is_not_created_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("10-net.conflist");
        fs::write(&path, "one").expect("a file");
        let goes = || fs::remove_file(&path).expect("it is there");
        let edited = edit(&path, |text| Ok(Some(format!("{text}!"))), goes);
        assert!(matches!(edited, Err(InstallError::File { .. })), "{edited:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
