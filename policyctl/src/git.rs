//! Manifests of a Git revision.
//!
//! Input: a revision and paths, both as `git` reads them in this folder. Output: the same as that of
//! files and folders (`policy_files::read_tree`), with the revision in the name of each source. The
//! files are written into a temporary folder by `git archive`; no work tree and no index changes.
//!
//! ```text
//! main, deploy/    ->  sources  main:deploy/web.yaml, main:deploy/db.yaml
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use policy_files::{Tree, read_tree};
use thiserror::Error;

/// Two sides of a comparison: `OLD..NEW`, or `OLD` and the files as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevisionRange {
    pub(crate) old: String,
    /// `None` for the files as they are.
    pub(crate) new: Option<String>,
}

/// Why the files of a revision cannot be read.
#[derive(Debug, Error)]
pub(crate) enum GitError {
    /// A program cannot be started.
    #[error("cannot start {program}, which --git needs")]
    Start {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// A program refused.
    #[error("{program} failed:\n{message}")]
    Refused { program: &'static str, message: String },
    /// There is no place for the files.
    #[error("cannot create a temporary folder")]
    Folder(#[source] io::Error),
    /// A file cannot be read.
    #[error(transparent)]
    Files(#[from] policy_files::Error),
}

/// Reads `OLD`, `OLD..` or `OLD..NEW`.
pub(crate) fn range(text: &str) -> Result<RevisionRange, String> {
    let (old, new) = text.split_once("..").unwrap_or((text, ""));
    let wrong = || "write OLD..NEW, or OLD to compare with the files as they are".to_owned();
    if old.is_empty() || new.starts_with('.') || old.starts_with('-') || new.starts_with('-') {
        return Err(wrong());
    }
    Ok(RevisionRange {
        old: old.to_owned(),
        new: Some(new.to_owned()).filter(|new| !new.is_empty()),
    })
}

/// The files of a revision. A path that the revision does not have holds nothing there.
pub(crate) fn read(revision: &str, paths: &[PathBuf], recursive: bool) -> Result<Tree, GitError> {
    let mut verify = Command::new("git");
    run(
        "git",
        verify.args(["rev-parse", "--verify", "--quiet"]).arg(format!("{revision}^{{commit}}")),
    )
    .map_err(|error| match error {
        GitError::Refused { program, .. } => {
            GitError::Refused { program, message: format!("there is no revision {revision} here") }
        }
        other @ (GitError::Start { .. } | GitError::Folder(_) | GitError::Files(_)) => other,
    })?;
    let exists = |path: &&PathBuf| {
        let object = format!("{revision}:./{}", path.display());
        run("git", Command::new("git").args(["cat-file", "-e", &object])).is_ok()
    };
    let there: Vec<&PathBuf> = paths.iter().filter(exists).collect();
    if there.is_empty() {
        return Ok(Tree::default());
    }
    let folder = tempfile::tempdir().map_err(GitError::Folder)?;
    extract(revision, &there, folder.path())?;
    let inside: Vec<PathBuf> = there.iter().map(|path| folder.path().join(path)).collect();
    Ok(renamed(read_tree(&inside, recursive)?, folder.path(), revision))
}

/// Writes paths of a revision into a folder.
fn extract(revision: &str, paths: &[&PathBuf], folder: &Path) -> Result<(), GitError> {
    let mut archive = Command::new("git");
    archive.args(["archive", "--format=tar", revision, "--"]).args(paths);
    archive.stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = |program, source| GitError::Start { program, source };
    let mut archive = archive.spawn().map_err(|source| start("git", source))?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "-f", "-", "-C"]).arg(folder);
    tar.stdin(archive.stdout.take().map_or_else(Stdio::null, Stdio::from));
    run("tar", &mut tar)?;
    let output = archive.wait_with_output().map_err(|source| start("git", source))?;
    succeeded("git", output).map(|_| ())
}

/// Names of files as git writes them: `REVISION:PATH`.
fn renamed(mut tree: Tree, folder: &Path, revision: &str) -> Tree {
    let name = |name: &str| {
        let path = Path::new(name).strip_prefix(folder);
        path.map_or_else(|_| name.to_owned(), |path| format!("{revision}:{}", path.display()))
    };
    for source in &mut tree.sources {
        source.name = name(&source.name);
    }
    tree.found = tree.found.iter().map(|one| name(one)).collect();
    let path = |path: &PathBuf| PathBuf::from(name(&path.to_string_lossy()));
    tree.kustomizations = tree.kustomizations.iter().map(path).collect();
    tree.charts = tree.charts.iter().map(path).collect();
    for folders in [&mut tree.unread, &mut tree.links] {
        let entries = std::mem::take(folders).into_iter();
        *folders = entries.map(|(folder, names)| (path(&folder), names)).collect();
    }
    tree
}

fn run(program: &'static str, command: &mut Command) -> Result<Output, GitError> {
    let output = command.output().map_err(|source| GitError::Start { program, source })?;
    succeeded(program, output)
}

fn succeeded(program: &'static str, output: Output) -> Result<Output, GitError> {
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(GitError::Refused { program, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_one_or_two_revisions() {
        let of = |old: &str, new: Option<&str>| {
            Some(RevisionRange { old: old.to_owned(), new: new.map(str::to_owned) })
        };
        #[rustfmt::skip]
        let cases = [
            ("main..HEAD", of("main", Some("HEAD"))),
            ("main",       of("main", None)),
            ("main..",     of("main", None)),
            ("..HEAD",     None),
            ("a...b",      None),
            ("--output=x", None),
            ("main..-x",   None),
        ];
        for (text, want) in cases {
            assert_eq!(range(text).ok(), want, "{text}");
        }
    }
}
