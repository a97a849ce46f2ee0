//! The linter's settings: the file `.policyctl.yaml` of a repository.
//!
//! Input: the paths that the command reads, or the file that `--config` names. Output: a
//! [`Config`], which changes levels of findings and leaves some out. The file is searched in the
//! folder of the manifests and in each folder around it, so that one file at the top of a repository
//! is enough. A key or code that does not exist is an error, because a misspelt one would be without
//! effect and without notice.
//!
//! ```yaml
//! lint:
//!   severities: {NP014: warning}
//!   disable:
//!   - {rule: NP016, reason: policies are generated}
//!   ignore:
//!   - {paths: ["vendor/**"], rules: [NP001], reason: charts of others}
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use globset::{Glob, GlobSet, GlobSetBuilder};
use policy_core::lint::{Level, RULES};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::config_error::ConfigError;

/// The name of the file.
const NAME: &str = ".policyctl.yaml";

/// Settings of the linter.
#[derive(Debug, Default)]
pub(super) struct Config {
    severities: BTreeMap<&'static str, Level>,
    disabled: Vec<&'static str>,
    ignored: Vec<IgnoredPaths>,
    /// The folder of the file: patterns are relative to it.
    folder: PathBuf,
}

/// Paths with findings that are not meant.
#[derive(Debug)]
struct IgnoredPaths {
    paths: GlobSet,
    /// Empty for every rule.
    rules: Vec<&'static str>,
}

impl Config {
    /// Reads the file that is named, or the one around the paths that are read; without any, the
    /// settings change nothing.
    pub(super) fn read(named: Option<&Path>, paths: &[&Path]) -> Result<Self, ConfigError> {
        if let Some(path) = named {
            return Self::of_file(path);
        }
        let mut found: Option<PathBuf> = None;
        for path in paths {
            let Some(file) = around(path) else { continue };
            match &found {
                Some(first) if *first != file => {
                    return Err(ConfigError::Several { first: first.clone(), second: file });
                }
                Some(_) | None => found = Some(file),
            }
        }
        found.map_or_else(|| Ok(Self::default()), |path| Self::of_file(&path))
    }

    fn of_file(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let folder = path.canonicalize().map_err(unreadable)?;
        let folder = folder.parent().map(Path::to_owned).unwrap_or_default();
        // An empty file, or one with comments alone, has no value to decode.
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let content: Content = serde_saphyr::from_str_with_options(&text, options())
            .map_err(|error| content_error(path, &error))?;
        let Lint { severities, disable, ignore } = content.lint;
        Ok(Self {
            severities: severities.into_iter().map(|(code, level)| (code.0, level.0)).collect(),
            disabled: disable.into_iter().map(|one| one.rule.0).collect(),
            ignored: ignore
                .into_iter()
                .map(|one| IgnoredPaths {
                    paths: one.paths.0,
                    rules: one.rules.into_iter().map(|code| code.0).collect(),
                })
                .collect(),
            folder,
        })
    }

    /// The level of a rule's findings, where the settings change it.
    pub(super) fn level(&self, code: &str) -> Option<Level> {
        self.severities.get(code).copied()
    }

    /// Whether findings of a rule in a file are left out.
    pub(super) fn leaves_out(&self, code: &str, file: Option<&str>) -> bool {
        self.disabled.contains(&code)
            || file.is_some_and(|file| {
                let mut rules = self
                    .ignored
                    .iter()
                    .filter(|one| one.rules.is_empty() || one.rules.contains(&code));
                rules.any(|one| one.paths.is_match(self.relative(file)))
            })
    }

    /// A path, relative to the folder of the settings.
    fn relative(&self, file: &str) -> PathBuf {
        let path = Path::new(file);
        let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        full.strip_prefix(&self.folder).map_or_else(|_| path.to_owned(), Path::to_owned)
    }
}

/// The file in the folder of a path, or in the nearest folder around it.
fn around(path: &Path) -> Option<PathBuf> {
    let full = path.canonicalize().ok()?;
    let mut files = full.ancestors().map(|folder| folder.join(NAME));
    files.find(|file| file.is_file())
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { with_snippet: false }
}

fn content_error(path: &Path, error: &serde_saphyr::Error) -> ConfigError {
    let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column()));
    let message = error.without_snippet().to_string();
    // The parser puts the place behind its message.
    let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
    ConfigError::Content { path: path.to_owned(), place: place.unwrap_or_default(), message }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    lint: Lint,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Lint {
    severities: BTreeMap<Code, Severity>,
    disable: Vec<DisabledRule>,
    ignore: Vec<IgnoredEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DisabledRule {
    rule: Code,
    #[expect(dead_code, reason = "a rule is not disabled without one")]
    reason: Reason,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IgnoredEntry {
    paths: Patterns,
    #[serde(default)]
    rules: Vec<Code>,
    #[expect(dead_code, reason = "nothing is left out without one")]
    reason: Reason,
}

/// The code of a rule that exists.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Code(&'static str);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let rule = RULES.iter().find(|rule| rule.code == text);
        rule.map(|rule| Self(rule.code)).ok_or_else(|| {
            D::Error::custom(format!("there is no rule {text}; lint --explain lists the rules"))
        })
    }
}

#[derive(Debug)]
struct Severity(Level);

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let levels = [Level::Note, Level::Warning, Level::Error];
        let level = levels.into_iter().find(|level| level.to_string() == text);
        level.map(Self).ok_or_else(|| {
            D::Error::custom(format!("{text} is no severity; write note, warning or error"))
        })
    }
}

#[derive(Debug)]
struct Reason;

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim().is_empty() {
            return Err(D::Error::custom("the reason is empty"));
        }
        Ok(Self)
    }
}

/// Patterns of paths, such as `charts/**`.
#[derive(Debug)]
struct Patterns(GlobSet);

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let mut all = GlobSetBuilder::new();
        for text in texts {
            all.add(Glob::new(&text).map_err(D::Error::custom)?);
        }
        all.build().map(Self).map_err(D::Error::custom)
    }
}
