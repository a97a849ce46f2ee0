//! Reads the files that `-f` names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use policy_manifest::Source;

/// Files of a folder that are read; the rest is somebody else's.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Files of expectations, which lie beside manifests and are none.
const EXPECTATIONS: &str = ".expect.yaml";

/// What names standard input.
pub const STDIN: &str = "-";

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Standard input.
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    /// A file that is no text.
    #[error("cannot read {}: line {line}, column {column} is no UTF-8", path.display())]
    NoText {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// A folder without manifests.
    #[error("{} holds no .yaml, .yml or .json file", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// A file that held something or was not there, and holds nothing: somebody is about to write
    /// it.
    #[error("{name} is empty; a file that is to say nothing holds a comment, or is removed")]
    Emptied {
        /// Which.
        name: String,
    },
}

/// Reads files, the files of folders in the order of their names, and `-`, standard input.
///
/// # Errors
///
/// The first source that cannot be read, and a folder without manifests.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Error> {
    read_since(paths, &[])
}

/// Whether a path can be read again: standard input and pipes give what they have but once. One
/// that is not there may come.
#[must_use]
pub fn is_lasting(path: &Path) -> bool {
    path.as_os_str() != STDIN
        && fs::metadata(path).map_or(true, |found| found.is_dir() || found.is_file())
}

/// The same when they may have changed: what standard input and pipes gave the first time is taken
/// from `before`.
///
/// # Errors
///
/// As of [`read`], and a file that is empty and was not before.
pub fn read_again(paths: &[PathBuf], before: &[Source]) -> Result<Vec<Source>, Error> {
    let read = read_since(paths, before)?;
    match read.iter().find(|source| source.text.is_empty() && !before.contains(source)) {
        Some(emptied) => Err(Error::Emptied { name: emptied.name.clone() }),
        None => Ok(read),
    }
}

fn read_since(paths: &[PathBuf], before: &[Source]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        let name = path.to_string_lossy();
        let read = before.iter().find(|source| source.name == name);
        if let Some(read) = read
            && !is_lasting(path)
        {
            sources.push(read.clone());
        } else if path.as_os_str() == STDIN {
            let text = io::read_to_string(io::stdin()).map_err(Error::Stdin)?;
            sources.push(Source { name: STDIN.to_owned(), text });
        } else if path.is_dir() {
            for file in manifests_in(path)? {
                sources.push(file_source(&file)?);
            }
        } else {
            sources.push(file_source(path)?);
        }
    }
    Ok(sources)
}

/// What is passed over of folders: the folders in them, as by kubectl.
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

/// Names of the folders in a folder, without hidden ones, which nobody expects to be read.
fn folders_in(path: &Path) -> Vec<String> {
    // What is no folder has none, and one that cannot be read is told when it is.
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// Reads one file.
///
/// # Errors
///
/// Where it cannot be read, or is no text.
pub fn file_source(path: &Path) -> Result<Source, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let good = String::from_utf8_lossy(good);
        let last = good.rsplit('\n').next().unwrap_or_default();
        let (line, column) = (good.matches('\n').count() + 1, last.chars().count() + 1);
        Error::NoText { path: path.to_owned(), line, column }
    })?;
    Ok(Source { name: path.display().to_string(), text })
}

fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let wanted = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
        let expectations = path.to_str().is_some_and(|name| name.ends_with(EXPECTATIONS));
        if !wanted || expectations {
            continue;
        }
        // A link that leads nowhere is a manifest that cannot be read, not one that is gone.
        let found = fs::metadata(&path);
        let found = found.map_err(|source| Error::Read { path: path.clone(), source })?;
        if found.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::Empty { path: folder.to_owned() });
    }
    files.sort();
    Ok(files)
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
    fn what_is_no_text_is_told_with_its_place() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.yaml");
        fs::write(&path, b"kind: Pod\n# \xe9\n")?;
        let found = file_source(&path);
        assert!(matches!(found, Err(Error::NoText { line: 2, column: 3, .. })), "{found:?}");
        Ok(())
    }

    #[test]
    fn an_empty_folder_is_an_error() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        assert!(matches!(read(&[folder.path().to_owned()]), Err(Error::Empty { .. })));
        Ok(())
    }
}
