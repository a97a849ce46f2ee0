//! What the rules of the linter find, and how they report it.

use std::fmt;

use crate::model::{Direction, FieldPath, ObjectRef};

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
    /// The change of the manifest that removes the finding, where no decision is needed.
    pub fix: Option<Fix>,
}

/// A change of a policy that removes a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fix {
    /// Remove the entry of a list that the finding is about. No verdict changes.
    RemoveEntry,
    /// Remove the policy. No verdict changes.
    RemovePolicy,
    /// Write the `policyTypes` that the policy has without the field. No verdict changes.
    WritePolicyTypes(Vec<Direction>),
    /// Write another number into `port`: the finding's port is allowed no longer, this one is.
    WritePort(u16),
}

impl Fix {
    /// Whether every verdict stays as it is.
    #[must_use]
    pub const fn keeps_verdicts(&self) -> bool {
        match self {
            Self::RemoveEntry | Self::RemovePolicy | Self::WritePolicyTypes(_) => true,
            Self::WritePort(_) => false,
        }
    }
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
        self.findings.push(Finding { object, field, code, level, message, suggestion, fix: None });
    }

    /// Adds the change that removes the finding that was added last.
    pub(super) fn fix_last(&mut self, fix: Fix) {
        if let Some(last) = self.findings.last_mut() {
            last.fix = Some(fix);
        }
    }
}
