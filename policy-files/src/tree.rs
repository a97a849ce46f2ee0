//! Reads folders as people keep them: with folders in them, charts and kustomizations.
//!
//! ```text
//! deploy/web.yaml                     read
//! deploy/base/kustomization.yaml      not read: named, as `kubectl kustomize` must render it
//! deploy/base/db.yaml                 read with `recursive`
//! deploy/chart/Chart.yaml             the folder is a Helm chart: nothing in it is read
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use policy_manifest::Source;

use crate::{Error, STDIN, is_manifest, read, read_file};

/// Names of the files that describe a kustomization.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The file that makes a folder a Helm chart.
const CHART: &str = "Chart.yaml";

/// What was found under some paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The text of each file, in the order of the paths and of the names in a folder.
    pub sources: Vec<Source>,
    /// Names of the sources that were found in a folder: nobody named them.
    pub found: BTreeSet<String>,
    /// Folders with a kustomization.
    pub kustomizations: Vec<PathBuf>,
    /// Folders that are Helm charts.
    pub charts: Vec<PathBuf>,
    /// Names of the folders in each folder that were not entered, as `recursive` was not set.
    pub unread: BTreeMap<PathBuf, Vec<String>>,
    /// The same of symbolic links to folders: they can lead back to a folder above.
    pub links: BTreeMap<PathBuf, Vec<String>>,
}

/// Reads files, the files of folders in the order of their names, and standard input for `-`; with
/// `recursive` also the folders of folders, without those with a name that begins with a dot.
///
/// # Errors
///
/// The first path that cannot be read, and a named folder without manifests.
pub fn read_tree(paths: &[PathBuf], recursive: bool) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    for path in paths {
        if path.as_os_str() == STDIN || !path.is_dir() {
            tree.sources.extend(read(std::slice::from_ref(path))?);
            continue;
        }
        let Tree { sources, charts, kustomizations, .. } = &tree;
        let before = sources.len() + charts.len() + kustomizations.len();
        let has_folders = tree.enter(path, recursive)?;
        let Tree { sources, charts, kustomizations, .. } = &tree;
        if sources.len() + charts.len() + kustomizations.len() == before {
            let path = path.clone();
            let is_flat = has_folders && !recursive;
            return Err(if is_flat { Error::OnlyFolders { path } } else { Error::Empty { path } });
        }
    }
    Ok(tree)
}

impl Tree {
    /// Notes for the user about folders that were not entered: one for each folder that has such.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let note = |text: &'static str, (folder, names): (&PathBuf, &Vec<String>)| {
            format!("{}: {text}: {}", folder.display(), names.join(", "))
        };
        let unread = self.unread.iter().map(|one| note("folders in it are not read", one));
        let links = self.links.iter().map(|one| {
            note("symbolic links to folders are not followed; name their folders with -f", one)
        });
        unread.chain(links).collect()
    }

    /// Reads a folder; whether it has folders in it.
    fn enter(&mut self, folder: &Path, recursive: bool) -> Result<bool, Error> {
        if folder.join(CHART).is_file() {
            self.charts.push(folder.to_owned());
            return Ok(false);
        }
        let (mut files, mut folders, mut links) = (Vec::new(), Vec::new(), Vec::new());
        let unreadable = |source| Error::Read { path: folder.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // A link that leads to nothing is reported as a manifest that cannot be read.
            if path.is_dir() {
                let is_link = entry.file_type().map_err(unreadable)?.is_symlink();
                let list = if is_link { &mut links } else { &mut folders };
                list.extend((!name.starts_with('.')).then(|| name.into_owned()));
            } else if KUSTOMIZATIONS.contains(&&*name) {
                self.kustomizations.push(folder.to_owned());
            } else if is_manifest(&path)? {
                files.push(path);
            }
        }
        files.sort();
        folders.sort();
        links.sort();
        for file in files {
            let source = read_file(&file)?;
            self.found.insert(source.name.clone());
            self.sources.push(source);
        }
        let has_folders = !folders.is_empty();
        if !links.is_empty() {
            self.links.insert(folder.to_owned(), links);
        }
        if recursive {
            for inner in folders {
                self.enter(&folder.join(inner), recursive)?;
            }
        } else if has_folders {
            self.unread.insert(folder.to_owned(), folders);
        }
        Ok(has_folders)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A folder with these empty files.
    fn folder(files: &[&str]) -> io::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, "")?;
        }
        Ok(folder)
    }

    /// Names of what was found, relative to the folder.
    fn names(folder: &Path, found: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
        let relative = |path: PathBuf| {
            path.strip_prefix(folder).map(|path| path.display().to_string()).unwrap_or_default()
        };
        found.into_iter().map(relative).collect()
    }

    #[test]
    fn folders_are_entered_and_charts_and_kustomizations_are_named() -> io::Result<()> {
        let files = [
            "b.yaml",
            "a/z.json",
            "a/z.expect.yaml",
            "a/b/c.yml",
            "a/kustomization.yaml",
            "chart/Chart.yaml",
            "chart/templates/web.yaml",
            ".git/x.yaml",
            "README.md",
        ];
        let folder = folder(&files)?;
        let path = folder.path();
        let tree = read_tree(&[path.to_owned()], true).map_err(io::Error::other)?;
        let sources = tree.sources.iter().map(|source| PathBuf::from(&source.name));
        assert_eq!(names(path, sources), ["b.yaml", "a/z.json", "a/b/c.yml"]);
        assert_eq!(tree.found.len(), 3);
        assert_eq!(names(path, tree.charts), ["chart"]);
        assert_eq!(names(path, tree.kustomizations), ["a"]);
        let flat = read_tree(&[path.to_owned()], false).map_err(io::Error::other)?;
        assert_eq!(flat.sources.len(), 1);
        Ok(())
    }

    #[test]
    fn a_folder_of_folders_names_the_option_that_reads_them() -> io::Result<()> {
        let folder = folder(&["a/b.yaml"])?;
        let found = read_tree(&[folder.path().to_owned()], false);
        assert!(matches!(found, Err(Error::OnlyFolders { .. })), "{found:?}");
        let empty = tempfile::tempdir()?;
        let found = read_tree(&[empty.path().to_owned()], true);
        assert!(matches!(found, Err(Error::Empty { .. })), "{found:?}");
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_is_named_and_not_followed() -> io::Result<()> {
        let folder = folder(&["a/b.yaml", "c.yaml"])?;
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again"))?;
        for recursive in [false, true] {
            let tree =
                read_tree(&[folder.path().to_owned()], recursive).map_err(io::Error::other)?;
            assert_eq!(tree.sources.len(), if recursive { 2 } else { 1 });
            let notes = tree.notes().join("\n");
            assert!(notes.ends_with("name their folders with -f: again"), "{notes}");
            assert_eq!(notes.contains("folders in it are not read: a\n"), !recursive, "{notes}");
        }
        Ok(())
    }
}
