//! Findings about policies that are legal and yet hardly what their author means.
//!
//! Each rule is a pure function of the cluster; it knows nothing of files.

mod and;
mod blocks;
mod catalogue;
mod context;
mod dns;
mod metadata;
mod namespaces;
mod never;
mod nodes;
mod ports;
mod selectors;
mod services;
mod shadow;
mod tiers;
mod types;

use std::fmt;

pub use catalogue::RULES;

use crate::model::{FieldPath, ObjectRef, Snapshot};

use context::Context;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Probably not what is meant.
    Warning,
    /// Without any effect as written.
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

/// A rule of the linter.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Stable code, as `NP001`; never given to another rule.
    pub code: &'static str,
    /// What it finds, in a few words with dashes.
    pub name: &'static str,
    /// What it finds, in one line.
    pub summary: &'static str,
    /// Why that matters and what to do, for a reader who has the finding before them.
    pub explanation: &'static str,
    check: fn(&Context<'_>, &mut Report),
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The object.
    pub object: ObjectRef,
    /// Where in it.
    pub field: FieldPath,
    /// Code of the rule.
    pub code: &'static str,
    /// How grave it is.
    pub level: Level,
    /// What is the case.
    pub message: String,
    /// What to do about it.
    pub suggestion: String,
}

/// Where rules put their findings.
struct Report {
    code: &'static str,
    findings: Vec<Finding>,
}

/// What a finding is about, before it has a message.
struct Subject {
    object: ObjectRef,
    field: FieldPath,
}

impl Report {
    fn add(
        &mut self,
        subject: Subject,
        level: Level,
        message: String,
        suggestion: impl Into<String>,
    ) {
        let Subject { object, field } = subject;
        let (code, suggestion) = (self.code, suggestion.into());
        self.findings.push(Finding { object, field, code, level, message, suggestion });
    }
}

/// Runs every rule; findings come sorted by object and field.
#[must_use]
pub fn lint(snapshot: &Snapshot) -> Vec<Finding> {
    let context = Context::new(snapshot);
    let mut findings = Vec::new();
    for rule in RULES {
        let mut report = Report { code: rule.code, findings: Vec::new() };
        (rule.check)(&context, &mut report);
        findings.append(&mut report.findings);
    }
    findings.sort();
    findings.dedup();
    findings
}
