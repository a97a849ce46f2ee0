//! Finds policies that are legal, and probably do not do what their author means.
//!
//! Input: a [`Snapshot`]. Output: [`Finding`]s, sorted by object and field. `policyctl lint` calls it
//! and adds the file and line of each finding; nothing here knows files.
//!
//! Each rule of the linter has a code (`NP001`, …), an entry in [`RULES`], and a `check` function
//! that reads a `Context` and adds to a `Report`. For example, where a policy of namespace `web`
//! selects `app=frontt`, and the pods there have `app=front`:
//!
//! ```text
//! NP001 warning  NetworkPolicy web/p  spec.podSelector
//!     app=frontt selects no pod of namespace web
//!     the pods there have app=front
//! ```
//!
//! Modules are named for the mistake that they find; `tiers` has the rules for
//! `ClusterNetworkPolicies`.

mod catalogue;
mod context;
mod default_deny;
mod dns;
mod ip_blocks;
mod metadata;
mod named_ports;
mod never_matches;
mod node_addresses;
mod partial_services;
mod policy_types;
mod redundant;
mod selectors;
mod split_selectors;
mod tiers;
mod well_known;

use std::fmt;

pub use catalogue::RULES;

use crate::model::{FieldPath, ObjectRef, Snapshot};

use context::Context;

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
    /// For network policies, and for cluster-wide ones.
    checks: &'static [fn(&Context<'_>, &mut Report)],
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
struct Report {
    code: &'static str,
    findings: Vec<Finding>,
}

/// A field of an object, which a finding is about.
struct FieldRef {
    object: ObjectRef,
    field: FieldPath,
}

impl Report {
    fn add(
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

/// Runs every rule; findings are sorted by object and field, each once.
///
/// `undefined` are namespaces that objects name, and that the input does not define.
#[must_use]
pub fn lint(snapshot: &Snapshot, undefined: &[String]) -> Vec<Finding> {
    let context = Context::new(snapshot, undefined);
    let mut findings = Vec::new();
    for rule in RULES {
        let mut report = Report { code: rule.code, findings: Vec::new() };
        for check in rule.checks {
            check(&context, &mut report);
        }
        findings.append(&mut report.findings);
    }
    findings.sort();
    findings.dedup();
    findings
}
