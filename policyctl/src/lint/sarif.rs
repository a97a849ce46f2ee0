//! Findings as SARIF 2.1.0 (OASIS).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy_core::lint::{LintRule, RULES};
use policy_files::STDIN;
use serde_json::{Value, json};

use super::report::Located;

/// Characters of a path that a URI percent-encodes (RFC 3986); a colon too, as it could end a scheme.
const OUTSIDE_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A log with one run; warnings are notifications of the tool.
pub(super) fn log(findings: &[Located], warnings: &[String]) -> Value {
    let notification = |warning: &String| json!({"level": "warning", "message": {"text": warning}});
    let notifications: Vec<Value> = warnings.iter().map(notification).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "policyctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(rule).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            }],
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(rule: &LintRule) -> Value {
    json!({
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.explanation},
    })
}

fn result(finding: &Located) -> Value {
    let Located { code, level, kind, object, message, suggestion, place, .. } = finding;
    let locations: Vec<Value> = place
        .iter()
        .map(|place| {
            json!({"physicalLocation": {
                "artifactLocation": {"uri": uri(&place.source)},
                "region": {"startLine": place.line, "startColumn": place.column},
            }})
        })
        .collect();
    // An object of a cluster has no file: its name is the location.
    let name = format!("{kind} {object}");
    let by_name = json!({"logicalLocations": [{"fullyQualifiedName": name, "kind": "resource"}]});
    let locations = if locations.is_empty() { vec![by_name] } else { locations };
    json!({
        "ruleId": code,
        "ruleIndex": RULES.iter().position(|rule| rule.code == *code),
        "level": level.to_string(),
        "message": {"text": format!("{kind} {object}: {message}; {suggestion}")},
        "locations": locations,
    })
}

/// The URI of a file, relative to the folder that the command runs in; `stdin` for standard input.
fn uri(source: &str) -> String {
    if source == STDIN {
        return "stdin".to_owned();
    }
    utf8_percent_encode(source, OUTSIDE_PATHS).to_string()
}
