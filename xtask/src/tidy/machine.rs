//! Nothing of the machine that a file was written on stays in the file.

use std::env;
use std::path::{Path, PathBuf};

use super::{Finding, Source};
use crate::command::workspace;

/// Top-level folders that every system has, so that naming them tells nothing.
const COMMON: &[&str] = &[
    "boot", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "run", "srv", "sys", "tmp", "usr",
    "var",
];

/// The folders of this machine that no file should name: the home, and where the checkout lies.
pub(super) fn own_folders() -> Vec<String> {
    folders(env::home_dir(), &workspace())
}

/// Finds the names of those folders.
pub(super) fn check(source: &Source, folders: &[String]) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    let named = lines.flat_map(|(at, line)| {
        let inside = folders.iter().filter(move |folder| line.contains(folder.as_str()));
        inside.map(move |folder| {
            Finding::new(source, at + 1, format!("names {folder}, a folder of this machine"))
        })
    });
    named.collect()
}

fn folders(home: Option<PathBuf>, workspace: &Path) -> Vec<String> {
    let top = workspace.components().nth(1).map(|top| Path::new("/").join(top));
    let top = top.filter(|top| !COMMON.iter().any(|name| top.ends_with(name)));
    let folders = home.into_iter().chain(top).filter(|folder| folder.parent().is_some());
    let mut folders: Vec<_> = folders.map(|folder| format!("{}/", folder.display())).collect();
    folders.sort();
    folders.dedup();
    folders
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{check, folders};
    use crate::tidy::source;

    #[test]
    fn the_home_and_the_top_of_the_checkout_are_private() {
        #[rustfmt::skip]
        let cases: [(&str, &str, &[&str]); 4] = [
            ("/home/ada", "/home/ada/src/policy", &["/home/ada/"]),
            ("/home/ada", "/builds/policy",       &["/builds/", "/home/ada/"]),
            ("/home/ada", "/tmp/policy",          &["/home/ada/"]),
            ("/",         "/policy",              &["/policy/"]),
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
        let folders = ["/home/ada/".to_owned()];
        assert_eq!(check(&source("a.md", "see\n/home/ada/notes"), &folders).len(), 1);
        assert_eq!(check(&source("a.md", "see /home/adam/notes"), &folders), []);
    }
}
