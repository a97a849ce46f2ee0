//! Findings with the file and line that they are about, as text and as JSON.

use std::fmt::Write;

use anstyle::AnsiColor;
use policy_core::{
    lint::{Finding, Level, RULES},
    model::Kind,
};
use policy_manifest::{ErrorSubject, ManifestError, Place, Problem};
use serde::Serialize;

use super::suppression::{self, Sorted, WithoutEffect};
use crate::{origin::Origin, output::Paint};

/// Code of the rule that the reader of manifests checks too.
const EXCEPT_OUTSIDE: &str = "NP009";

/// All that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) findings: Vec<Located>,
    /// Findings that are suppressed, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) suppressed: Vec<SuppressedFinding>,
}

/// A finding that its author does not want to see.
#[derive(Debug, Serialize)]
pub(super) struct SuppressedFinding {
    #[serde(flatten)]
    pub(super) finding: Located,
    pub(super) reason: String,
}

impl Report {
    /// Finds the places of findings, and sorts them by place.
    pub(super) fn new(sorted: &Sorted, origin: &Origin) -> Self {
        let findings = sorted.findings.iter().map(|finding| Located::new(finding, origin));
        let faults = sorted.without_effect.iter().map(Located::without_effect);
        let mut findings: Vec<Located> = findings.chain(faults).collect();
        findings.sort_by(|a, b| a.place.cmp(&b.place));
        let suppressed = sorted.suppressed.iter().map(|(finding, reason)| SuppressedFinding {
            finding: Located::new(finding, origin),
            reason: reason.clone(),
        });
        Self { findings, suppressed: suppressed.collect() }
    }
}

/// A finding, and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Located {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    /// `error`, `warning` or `note`.
    #[serde(serialize_with = "word")]
    pub(super) level: Level,
    pub(super) kind: String,
    pub(super) object: String,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) suggestion: String,
    /// `None` for an object without a manifest, such as a namespace that pods only name.
    #[serde(serialize_with = "place")]
    pub(super) place: Option<Place>,
    /// The cluster that was read instead of manifests; then there are no places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
}

impl Located {
    /// Finds the place of a finding.
    pub(super) fn new(finding: &Finding, origin: &Origin) -> Self {
        let Finding { object, field, code, level, message, suggestion, fix: _ } = finding;
        let (kind, name) = (object.kind_name().to_owned(), object.to_string());
        Self {
            code,
            name: rule_name(code),
            level: *level,
            kind,
            object: name,
            field: field.to_string(),
            message: message.clone(),
            suggestion: suggestion.clone(),
            // Lines of the API server's response mean nothing to the reader.
            place: match &origin.cluster {
                Some(_) => None,
                None => origin.manifests.places.find(object, field).cloned(),
            },
            cluster: origin.cluster.clone(),
        }
    }

    /// NP009 from an error of the reader of manifests, as the API server refuses such a policy.
    pub(super) fn refused(error: &ManifestError) -> Self {
        let object = match &error.subject {
            ErrorSubject::Object(object) => object.to_string(),
            ErrorSubject::Kind(_) | ErrorSubject::Unknown => String::new(),
        };
        Self {
            code: EXCEPT_OUTSIDE,
            name: rule_name(EXCEPT_OUTSIDE),
            level: Level::Error,
            kind: Kind::NetworkPolicy.to_string(),
            object,
            field: error.field.to_string(),
            message: error.problem.to_string(),
            suggestion: "remove it, or widen the block; the API server refuses the policy"
                .to_owned(),
            place: Some(error.place.clone()),
            cluster: None,
        }
    }

    /// NP028 from a suppression that does nothing.
    fn without_effect(one: &WithoutEffect) -> Self {
        Self {
            code: suppression::CODE,
            name: rule_name(suppression::CODE),
            level: one.level,
            kind: "suppression".to_owned(),
            object: one.codes.clone(),
            field: String::new(),
            message: one.message.clone(),
            suggestion: one.suggestion.to_owned(),
            place: one.place.clone(),
            cluster: None,
        }
    }

    /// One line without the suggestion: `web.yaml:7:3: warning[NP005]: NetworkPolicy web/p: …`.
    pub(super) fn line(&self) -> String {
        self.painted(&format!("{}[{}]", self.level, self.code))
    }

    fn painted(&self, level: &str) -> String {
        let Self { kind, object, field, message, .. } = self;
        let place = self.place.as_ref().map(ToString::to_string);
        let place = place.or_else(|| self.cluster.clone());
        let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        format!("{place}{level}: {kind} {object}: {field}{message}")
    }
}

fn rule_name(code: &str) -> &'static str {
    RULES.iter().find(|rule| rule.code == code).map(|rule| rule.name).unwrap_or_default()
}

/// Whether all errors of the reader are what NP009 finds, so that they can be printed as findings.
pub(super) fn are_findings(errors: &[ManifestError]) -> bool {
    errors.iter().all(|error| matches!(error.problem, Problem::ExceptOutside { .. }))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn word<S: serde::Serializer>(level: &Level, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(level)
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn place<S: serde::Serializer>(place: &Option<Place>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        file: &'a str,
        line: usize,
        column: usize,
    }
    let shown = place.as_ref().map(|Place { source, line, column }| Shown {
        file: source,
        line: *line,
        column: *column,
    });
    shown.serialize(to)
}

/// Two lines per finding, and a summary.
pub(super) fn text(report: &Report, paint: Paint) -> String {
    let Report { findings, suppressed } = report;
    let mut out = String::new();
    for finding in findings {
        let level = format!("{}[{}]", finding.level, finding.code);
        let level = paint.text(level_colour(finding.level), level);
        let _ = writeln!(out, "{}", finding.painted(&level));
        let _ = writeln!(out, "    {}", finding.suggestion);
    }
    let counts = [Level::Error, Level::Warning, Level::Note].map(|level| {
        let number = findings.iter().filter(|finding| finding.level == level).count();
        format!("{number} {level}{}", if number == 1 { "" } else { "s" })
    });
    let mut summary = counts.join(", ");
    if !suppressed.is_empty() {
        let _ = write!(summary, ", {} suppressed", suppressed.len());
    }
    let _ = writeln!(out, "{summary}");
    out
}

fn level_colour(level: Level) -> AnsiColor {
    match level {
        Level::Error => AnsiColor::Red,
        Level::Warning => AnsiColor::Yellow,
        Level::Note => AnsiColor::Cyan,
    }
}
