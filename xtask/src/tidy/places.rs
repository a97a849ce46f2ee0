//! Places that the documents name: files, folders and links that must exist.
//!
//! Input is every file of the project. Checked are the links of each Markdown file, and the paths in
//! backticks of ARCHITECTURE.md and CONTRIBUTING.md, where a newcomer looks up what to change. There
//! a path may leave out its beginning once the row has named it: `policy-ebpf/src/maps.rs`, then
//! `limits.rs` or `dataplane/maps.rs`.

use std::collections::BTreeSet;

use super::{Finding, Source};

/// The documents with paths in backticks.
const GUIDES: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// What a path to a file ends with.
const EXTENSIONS: [&str; 4] = [".rs", ".yaml", ".json", ".md"];

/// Finds places that do not exist.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let places = Places::of(sources);
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.has_extension("md")) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in source.text.lines().enumerate() {
            let mut missing: Vec<&str> =
                links(line).filter(|link| !places.has(&resolved(folder, link))).collect();
            if GUIDES.contains(&source.path.as_str()) {
                missing.extend(quoted(line).filter(|text| places.lacks(text)));
            }
            let message = |place| format!("`{place}` is no file or folder of the project");
            findings.extend(
                missing.into_iter().map(|place| Finding::new(source, number + 1, message(place))),
            );
        }
    }
    findings
}

/// Every file and folder, and the ends of their paths: for `a/src/b.rs` also `src/b.rs` and `b.rs`.
struct Places<'a> {
    all: BTreeSet<&'a str>,
    ends: BTreeSet<&'a str>,
}

impl<'a> Places<'a> {
    fn of(sources: &'a [Source]) -> Self {
        let (mut all, mut ends) = (BTreeSet::new(), BTreeSet::new());
        for source in sources {
            let mut place = Some(source.path.as_str());
            while let Some(path) = place {
                all.insert(path);
                ends.extend(path.match_indices('/').map(|(at, _)| &path[at + 1..]));
                place = path.rsplit_once('/').map(|(folder, _)| folder);
            }
        }
        Self { all, ends }
    }

    fn has(&self, path: &str) -> bool {
        path.is_empty() || self.all.contains(path)
    }

    /// Whether a text in backticks is a path, and leads nowhere.
    fn lacks(&self, text: &str) -> bool {
        let path = text.trim_end_matches('/');
        let is_placeholder = |part: &str| part.chars().all(|letter| letter.is_ascii_uppercase());
        let stem = |part: &'_ str| part.split('.').next().unwrap_or_default().to_owned();
        if path.contains(|letter: char| " *{}<>:~$".contains(letter))
            || path.split('/').any(|part| is_placeholder(&stem(part)))
        {
            return false;
        }
        let is_file = EXTENSIONS.iter().any(|extension| path.ends_with(extension));
        let in_project = path.split_once('/').is_some_and(|(first, _)| self.all.contains(first));
        (is_file || in_project) && !self.has(path) && !self.ends.contains(path)
    }
}

/// The targets of a line's links to files, without the place inside of the file.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    files.map(|target| target.split('#').next().unwrap_or_default()).filter(|file| !file.is_empty())
}

/// A link as a path from the root of the workspace.
fn resolved(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The texts in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn a_place_that_a_document_names_exists() {
        #[rustfmt::skip]
        let cases = [
            ("ARCHITECTURE.md",  "`a/src/b.rs`, `src/b.rs`, `b.rs`, `a/src/`", false),
            ("ARCHITECTURE.md",  "`a/src/c.rs`",                               true),
            ("CONTRIBUTING.md",  "`c.rs`",                                     true),
            ("CONTRIBUTING.md",  "`a/gone`",                                   true),
            ("ARCHITECTURE.md",  "pod `frontend/web`, `examples/NAME.yaml`",   false),
            ("ARCHITECTURE.md",  "`a::b`, `flows4_12`, `S1`",                  false),
            ("docs/x.md",        "`c.rs`",                                     false),
            ("docs/x.md",        "[a](../a/src/b.rs), [here](#x), [y](y.md#z)", false),
            ("docs/x.md",        "[a](a/src/b.rs)",                            true),
            ("README.md",        "[a](https://example.org/c.rs)",              false),
            ("README.md",        "[docs](docs/), [gone](docs/gone.md)",        true),
        ];
        for (path, text, broken) in cases {
            let files = [source("a/src/b.rs", ""), source("docs/y.md", ""), source(path, text)];
            assert_eq!(!check(&files).is_empty(), broken, "{path}: {text}");
        }
    }
}
