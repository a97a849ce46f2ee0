//! Why the fix of a denied connection cannot be found or written.

use std::{io, path::PathBuf};

use policy_manifest::Place;
use policy_probe::input::InputError;
use thiserror::Error;

/// Why a fix cannot be written.
#[derive(Debug, Error)]
pub(crate) enum FixError {
    /// The question has no port, so that there is no connection to allow.
    #[error("--fix needs --port: it allows one connection")]
    NoPort,
    /// No additions to the policies allow the connection.
    #[error("no additions to the policies allow this connection")]
    NoFix,
    /// The policy is not in a file that can be changed.
    #[error("{policy} is not in a file; this command makes the change:\n  {command}")]
    NotInFile {
        /// Kind and name.
        policy: String,
        /// The command of kubectl.
        command: String,
    },
    /// The file cannot be read or written.
    #[error("cannot change {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The form of the text does not allow the change.
    #[error("cannot change {place} in its place; this command makes the change:\n  {command}")]
    Form {
        /// Where the policy is.
        place: Place,
        /// The command of kubectl.
        command: String,
        #[source]
        source: EditError,
    },
}

/// Why the fixes of findings are not written.
#[derive(Debug, Error)]
pub(crate) enum LintFixError {
    /// The changed texts cannot be read.
    #[error("the fixed manifests cannot be read, so nothing is written")]
    Unreadable(#[source] InputError),
    /// What the changed texts hold is not what was meant.
    #[error("the fixed manifests have another meaning than the fixes, so nothing is written")]
    OtherMeaning,
    /// A fix that keeps every verdict would change one.
    #[error("the fixes would change which connections are allowed, so nothing is written")]
    OtherVerdicts,
    /// A file cannot be written.
    #[error("cannot change {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Why the text of a document cannot be changed.
#[derive(Debug, Error)]
pub(crate) enum EditError {
    /// The document is JSON, and the change would be written as YAML.
    #[error("the document is JSON; --fix edits YAML only")]
    Json,
    /// The patch does not fit.
    #[error("the field cannot be added to")]
    Patch(#[from] yamlpatch::Error),
    /// The document cannot be parsed.
    #[error("the document cannot be searched")]
    Query(#[from] yamlpath::QueryError),
    /// A value cannot be parsed.
    #[error("the document cannot be parsed")]
    Yaml(#[from] yaml_serde::Error),
    /// The field is not a list.
    #[error("the list is not in this document")]
    NoList,
    /// What was read back is another policy.
    #[error("the changed text has another meaning than the change")]
    OtherMeaning,
}
