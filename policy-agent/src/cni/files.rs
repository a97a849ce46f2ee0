//! Files of the node that the chained plugin consists of, each whole at every instant.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use policy_cni::PLUGIN;
use thiserror::Error;

use super::conflist::ConflistError;

/// Files that a runtime reads as configurations; the first by name is the node's.
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

/// How often a file is read again that somebody else writes at the same time.
const TRIES: usize = 5;

/// Why the plugin is not as it should be.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A file or folder.
    #[error("cannot {act} {path}")]
    File {
        /// What was tried.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No configuration is there yet.
    #[error("no CNI configuration in {0} yet")]
    None(PathBuf),
    /// A configuration.
    #[error("cannot chain the plugin in {path}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        #[source]
        source: ConflistError,
    },
    /// A configuration that may need the plugin still.
    #[error("{path} names the plugin and is no list of plugins, so that the program stays")]
    Kept {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        #[source]
        source: ConflistError,
    },
    /// An agent runs.
    #[error("an agent answers at {0}: the plugin and the socket stay until it has ended")]
    Answered(PathBuf),
    /// A configuration that is another one at every look.
    #[error("somebody else writes {0} at the same time")]
    Restless(PathBuf),
}

/// Configurations, by name; of a folder that does not exist, none.
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

/// What a folder holds, in any order; of one that does not exist, nothing.
fn list(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", folder))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(failed("list", folder))
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, InstallError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// Changes a text in place, unless `change` gives none; whether it did. Mode and owner stay, and
/// what somebody else writes at the same time is not lost: `meanwhile` comes between the two looks.
pub(super) fn edit(
    path: &Path,
    change: impl Fn(&str) -> Result<Option<String>, InstallError>,
    mut meanwhile: impl FnMut(),
) -> Result<bool, InstallError> {
    for _ in 0..TRIES {
        let about = fs::metadata(path).map_err(failed("look at", path))?;
        let before = read(path)?;
        let Some(after) = change(&before)? else { return Ok(false) };
        let aside = Aside::write(path, after.as_bytes(), about.mode() & 0o7777)?;
        aside.give_to(about.uid(), about.gid());
        meanwhile();
        // Between this look and the rename is no call but the rename.
        if fs::read(path).is_ok_and(|now| now == before.as_bytes()) {
            aside.take_place()?;
            return Ok(true);
        }
    }
    Err(InstallError::Restless(path.to_owned()))
}

/// Puts a file in place of another, which need not be there.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    Aside::write(path, content, mode)?.take_place()
}

/// Removes what a killed agent left in a folder half written.
pub(super) fn remove_asides(folder: &Path) -> Result<(), InstallError> {
    let is_aside = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.') && name.ends_with(&aside_end())
    };
    list(folder)?.iter().filter(is_aside).try_for_each(|path| remove(path))
}

/// Removes a file, which need not be there.
pub(super) fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

/// The failure of an act.
pub(super) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { act, path, source }
}

fn aside_end() -> String {
    format!(".{PLUGIN}-new")
}

/// A file beside another whose place it is to take; it goes with this value.
struct Aside<'a> {
    place: &'a Path,
    path: PathBuf,
    file: File,
}

impl<'a> Aside<'a> {
    fn write(place: &'a Path, content: &[u8], mode: u32) -> Result<Self, InstallError> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        // No runtime takes it for a configuration or a plugin.
        let path = place.with_file_name(format!(".{name}{}", aside_end()));
        remove(&path)?;
        let file = File::create_new(&path).map_err(failed("write", &path))?;
        let mut aside = Self { place, path, file };
        let written = aside.file.write_all(content).and_then(|()| {
            aside.file.set_permissions(Permissions::from_mode(mode))?;
            aside.file.sync_all()
        });
        written.map_err(failed("write", place))?;
        Ok(aside)
    }

    /// Where the agent may not give files away, root has it: the runtime reads it all the same.
    fn give_to(&self, user: u32, group: u32) {
        let about = self.file.metadata();
        if about.is_ok_and(|about| (about.uid(), about.gid()) != (user, group)) {
            let _ = fchown(&self.file, Some(user), Some(group));
        }
    }

    fn take_place(self) -> Result<(), InstallError> {
        fs::rename(&self.path, self.place).map_err(failed("write", self.place))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // It is gone where it has taken its place.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `edit`, with a word behind the text; somebody writes each of `others` between two looks.
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
    fn what_somebody_else_writes_at_the_same_time_is_kept() {
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
    fn what_goes_meanwhile_is_not_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("10-net.conflist");
        fs::write(&path, "one").expect("a file");
        let goes = || fs::remove_file(&path).expect("it is there");
        let edited = edit(&path, |text| Ok(Some(format!("{text}!"))), goes);
        assert!(matches!(edited, Err(InstallError::File { .. })), "{edited:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
