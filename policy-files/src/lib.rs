//! Reads manifests from files, folders and standard input as text.
//!
//! Input: the paths that `-f` or `--manifests` name. Output: [`Source`]s, the text of each file with
//! its name, which `policy_manifest::read` turns into a cluster. The agent's file source and
//! `policy-lab` call [`read()`]; `policyctl` calls [`read_tree`], which can enter folders in folders
//! and names charts and kustomizations. Nothing here parses YAML.
//!
//! A folder gives its `.yaml`, `.yml` and `.json` files in the order of their names. [`read()`] does
//! not enter the folders in it, as kubectl does not, and `*.expect.yaml` are expectations, not
//! manifests:
//!
//! ```text
//! policies/web.yaml          read
//! policies/web.expect.yaml   skipped: expectations
//! policies/old/web.yaml      skipped: a folder in the folder; see `notes`
//! ```
#![forbid(unsafe_code)]

mod tree;

pub use tree::{Tree, read_tree};

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use policy_manifest::Source;

/// Extensions of the files that are read of a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// How the names of files with expectations end; these lie beside manifests.
const EXPECTATIONS: &str = ".expect.yaml";

/// The path that means standard input.
pub const STDIN: &str = "-";

/// Why a path cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    /// The file is not text.
    #[error("cannot read {}: line {line}, column {column} is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line of the first illegal byte, from 1.
        line: usize,
        /// Its column in characters, from 1.
        column: usize,
    },
    /// The folder holds no manifests.
    #[error("{} holds no .yaml, .yml or .json file", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds no manifests, and folders that may.
    #[error("{} holds no .yaml, .yml or .json file, but folders; -R reads them too", path.display())]
    OnlyFolders {
        /// The folder.
        path: PathBuf,
    },
    /// A file is empty that had content before, or did not exist: a program is about to write it.
    #[error(
        "{name} is empty; write a comment into it if it is meant to hold nothing, or remove it"
    )]
    Emptied {
        /// The file.
        name: String,
    },
}

/// Reads files, the files of folders in the order of their names, and standard input for `-`.
///
/// # Errors
///
/// The first path that cannot be read, and a folder without manifests.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Error> {
    read_after(paths, &[])
}

/// Reads the same paths a second time, after `previous` was read from them.
///
/// Standard input and pipes give their content only once, so theirs is taken from `previous`.
///
/// # Errors
///
/// As [`read`], and a file that is empty now and was not empty in `previous`.
pub fn reread(paths: &[PathBuf], previous: &[Source]) -> Result<Vec<Source>, Error> {
    let sources = read_after(paths, previous)?;
    match sources.iter().find(|source| source.text.is_empty() && !previous.contains(source)) {
        Some(emptied) => Err(Error::Emptied { name: emptied.name.clone() }),
        None => Ok(sources),
    }
}

/// Whether a path gives its content every time it is read: a file or a folder, not standard input
/// and not a pipe. A path that does not exist yet counts, as a file may appear there.
#[must_use]
pub fn is_rereadable(path: &Path) -> bool {
    path.as_os_str() != STDIN
        && fs::metadata(path).map_or(true, |found| found.is_dir() || found.is_file())
}

/// Notes for the user about folders that are not entered: one for each path that has such.
#[must_use]
pub fn notes(paths: &[PathBuf]) -> Vec<String> {
    let folders = paths.iter().map(|path| (path, folders_in(path)));
    folders
        .filter(|(_, inner)| !inner.is_empty())
        .map(|(path, inner)| {
            format!("{}: folders in it are not read: {}", path.display(), inner.join(", "))
        })
        .collect()
}

/// Reads one file.
///
/// # Errors
///
/// The file cannot be read, or is not UTF-8.
pub fn read_file(path: &Path) -> Result<Source, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let good = String::from_utf8_lossy(good);
        let last = good.rsplit('\n').next().unwrap_or_default();
        let (line, column) = (good.matches('\n').count() + 1, last.chars().count() + 1);
        Error::NotUtf8 { path: path.to_owned(), line, column }
    })?;
    Ok(Source { name: path.display().to_string(), text })
}

fn read_after(paths: &[PathBuf], previous: &[Source]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        let name = path.to_string_lossy();
        let kept = previous.iter().find(|source| source.name == name);
        if let Some(kept) = kept
            && !is_rereadable(path)
        {
            sources.push(kept.clone());
        } else if path.as_os_str() == STDIN {
            let text = io::read_to_string(io::stdin()).map_err(Error::Stdin)?;
            sources.push(Source { name: STDIN.to_owned(), text });
        } else if path.is_dir() {
            for file in manifests_in(path)? {
                sources.push(read_file(&file)?);
            }
        } else {
            sources.push(read_file(path)?);
        }
    }
    Ok(sources)
}

/// Names of the folders in a folder; hidden ones are left out, as nobody expects them to be read.
fn folders_in(path: &Path) -> Vec<String> {
    // A file has none, and a folder that cannot be read is reported when it is read.
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_manifest(&path)? {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::Empty { path: folder.to_owned() });
    }
    files.sort();
    Ok(files)
}

/// Whether a file of a folder is read.
fn is_manifest(path: &Path) -> Result<bool, Error> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let wanted = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
    let expectations = path.to_str().is_some_and(|name| name.ends_with(EXPECTATIONS));
    if !wanted || expectations {
        return Ok(false);
    }
    // A symbolic link without a file is a manifest that cannot be read, not a removed one.
    let found = fs::metadata(path);
    let found = found.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_manifests_in_order_and_no_expectations() -> Result<(), Error> {
        let folder = tempfile::tempdir().map_err(Error::Stdin)?;
        for name in ["b.yaml", "a.yml", "a.expect.yaml", "notes.md"] {
            fs::write(folder.path().join(name), "").map_err(Error::Stdin)?;
        }
        let names: Vec<String> =
            read(&[folder.path().to_owned()])?.into_iter().map(|source| source.name).collect();
        assert_eq!(names.len(), 2);
        assert!(names[0].ends_with("a.yml") && names[1].ends_with("b.yaml"), "{names:?}");
        Ok(())
    }

    #[test]
    fn an_error_names_the_place_of_the_first_byte_that_is_not_utf8() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.yaml");
        fs::write(&path, b"kind: Pod\n# \xe9\n")?;
        let found = read_file(&path);
        assert!(matches!(found, Err(Error::NotUtf8 { line: 2, column: 3, .. })), "{found:?}");
        Ok(())
    }

    #[test]
    fn an_empty_folder_is_an_error() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        assert!(matches!(read(&[folder.path().to_owned()]), Err(Error::Empty { .. })));
        Ok(())
    }
}
