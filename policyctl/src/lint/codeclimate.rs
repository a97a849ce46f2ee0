//! Findings as GitLab reads them beside a merge request (the report of Code Climate).

use policy_core::lint::Level;
use serde::Serialize;

use super::report::Located;

/// An entry of the report.
#[derive(Debug, Serialize)]
pub(super) struct Issue<'a> {
    #[serde(rename = "type")]
    sort: &'static str,
    check_name: &'static str,
    description: String,
    categories: [&'static str; 1],
    severity: &'static str,
    /// Equal for the same finding of two runs, wherever it has moved in its file.
    fingerprint: String,
    location: Location<'a>,
}

#[derive(Debug, Serialize)]
struct Location<'a> {
    path: &'a str,
    lines: Lines,
}

#[derive(Debug, Serialize)]
struct Lines {
    begin: usize,
}

/// The entries of the report; what has no file is at the name of the cluster, or of its object.
pub(super) fn issues(findings: &[Located]) -> Vec<Issue<'_>> {
    findings.iter().map(issue).collect()
}

fn issue(finding: &Located) -> Issue<'_> {
    let Located { code, name, level, kind, object, field, message, suggestion, place, cluster } =
        finding;
    let (path, line) = match (place, cluster) {
        (Some(place), _) => (place.source.as_str(), place.line),
        (None, Some(cluster)) => (cluster.as_str(), 1),
        (None, None) => (object.as_str(), 1),
    };
    Issue {
        sort: "issue",
        check_name: code,
        description: format!("{code} {name}: {kind} {object}: {message}; {suggestion}"),
        categories: ["Security"],
        severity: match level {
            Level::Error => "major",
            Level::Warning => "minor",
            Level::Note => "info",
        },
        fingerprint: format!("{code} {path} {kind} {object} {field} {message}"),
        location: Location { path, lines: Lines { begin: line } },
    }
}
