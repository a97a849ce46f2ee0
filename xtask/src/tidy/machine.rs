//! Nothing of the machine that a file was written on stays in the file.

use std::env;
use std::path::{Path, PathBuf};

use super::{Finding, Source};
use xtask::command::workspace;

/// Usual parents of checkouts, which say nothing about this machine.
const EVERYWHERE: &[&str] = &["/", "/home", "/mnt", "/opt", "/srv", "/tmp", "/usr/src", "/var/tmp"];

/// The folders of this machine that no file should name: the home, and where checkouts lie.
pub(super) fn own_folders() -> Vec<String> {
    folders(env::home_dir(), &workspace())
}

/// Finds the names of those folders.
pub(super) fn check(source: &Source, folders: &[String]) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    let named = lines.flat_map(|(at, line)| {
        let inside = folders.iter().filter(move |folder| names(line, folder));
        inside.map(move |folder| {
            let message = format!("names {folder}, a folder of this machine");
            Finding::new(source, at + 1, message)
        })
    });
    named.collect()
}

fn folders(home: Option<PathBuf>, workspace: &Path) -> Vec<String> {
    let above = workspace.parent().map(Path::to_path_buf);
    let above = above.filter(|above| !EVERYWHERE.iter().any(|folder| above == Path::new(folder)));
    let mut folders: Vec<_> =
        home.into_iter().chain(above).map(|folder| format!("{}/", folder.display())).collect();
    folders.retain(|folder| folder != "//");
    folders.sort();
    folders.dedup();
    folders
}

/// Whether the folder stands in the line, and not as the end of a longer path.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"._-*}".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{check, folders};
    use crate::tidy::source;

    #[test]
    fn the_home_and_the_place_of_checkouts_are_private() {
        #[rustfmt::skip]
        let cases: [(&str, &str, &[&str]); 4] = [
            ("/home/ada", "/home/ada/policy",   &["/home/ada/"]),
            ("/home/ada", "/builds/ada/policy", &["/builds/ada/", "/home/ada/"]),
            ("/home/ada", "/tmp/policy",        &["/home/ada/"]),
            ("/",         "/policy",            &[]),
        ];
        for (home, workspace, want) in cases {
            assert_eq!(
                folders(Some(PathBuf::from(home)), Path::new(workspace)),
                want,
                "{workspace}"
            );
        }
    }

    #[test]
    fn a_file_that_names_them_is_found() {
        let folders = ["/builds/".to_owned()];
        #[rustfmt::skip]
        let cases = [
            ("see /builds/notes",       true),
            ("\"/builds/notes\"",       true),
            ("see /rebuilds/notes",     false),
            ("see our/builds/notes",    false),
            ("see ../builds/notes",     false),
        ];
        for (text, found) in cases {
            assert_eq!(!check(&source("a.md", text), &folders).is_empty(), found, "{text}");
        }
    }
}
