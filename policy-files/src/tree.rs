//! Reads folders as people keep them: with folders in them, charts and kustomizations.
//!
//! ```text
//! deploy/web.yaml                     read
//! deploy/base/kustomization.yaml      not read: named, as `kubectl kustomize` must render it
//! deploy/base/db.yaml                 read with `recursive`
//! deploy/chart/Chart.yaml             the folder is a Helm chart: nothing in it is read
//! ```

use std::{
    collections::BTreeSet,
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
}

/// Reads files, the files of folders in the order of their names, and standard input for `-`; with
/// `recursive` also the folders of folders, without those whose name begins with a dot.
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
    /// Reads a folder; whether it has folders in it.
    fn enter(&mut self, folder: &Path, recursive: bool) -> Result<bool, Error> {
        if folder.join(CHART).is_file() {
            self.charts.push(folder.to_owned());
            return Ok(false);
        }
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let unreadable = |source| Error::Read { path: folder.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // A symbolic link to a folder can lead back to this one.
            if entry.file_type().map_err(unreadable)?.is_dir() {
                folders.extend((!name.starts_with('.')).then_some(path));
            } else if KUSTOMIZATIONS.contains(&&*name) {
                self.kustomizations.push(folder.to_owned());
            } else if is_manifest(&path)? {
                files.push(path);
            }
        }
        files.sort();
        folders.sort();
        for file in files {
            let source = read_file(&file)?;
            self.found.insert(source.name.clone());
            self.sources.push(source);
        }
        for inner in folders.iter().filter(|_| recursive) {
            self.enter(inner, recursive)?;
        }
        Ok(!folders.is_empty())
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
}
