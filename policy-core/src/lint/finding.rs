//! What the rules of the linter find, and how they report it.

use std::fmt;

use crate::model::{FieldPath, ObjectRef};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Probably not what the author means.
    Warning,
    /// Has no effect as it is written.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The object.
    pub object: ObjectRef,
    /// Where in the object; the empty path is the object itself.
    pub field: FieldPath,
    /// Code of the rule.
    pub code: &'static str,
    /// How serious it is.
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub suggestion: String,
}

/// Collects the findings of one rule.
pub(super) struct Report {
    code: &'static str,
    pub(super) findings: Vec<Finding>,
}

/// A field of an object, which a finding is about.
pub(super) struct FieldRef {
    pub(super) object: ObjectRef,
    pub(super) field: FieldPath,
}

impl Report {
    /// Nothing found yet by the rule of a code.
    pub(super) fn of(code: &'static str) -> Self {
        Self { code, findings: Vec::new() }
    }

    /// Adds a finding.
    pub(super) fn add(
        &mut self,
        at: FieldRef,
        level: Level,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        let FieldRef { object, field } = at;
        let (code, message, suggestion) = (self.code, message.into(), suggestion.into());
        self.findings.push(Finding { object, field, code, level, message, suggestion });
    }
}
