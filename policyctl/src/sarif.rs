//! What all logs in SARIF 2.1.0 (OASIS) have in common.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy_files::STDIN;
use policy_manifest::Place;
use serde_json::{Value, json};

/// Characters of a path that a URI percent-encodes (RFC 3986); a colon too, as it could end a scheme.
const OUTSIDE_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A log with one run; warnings are notifications of the tool.
pub(crate) fn log(rules: &[Value], results: &[Value], warnings: &[String]) -> Value {
    let notification = |warning: &String| json!({"level": "warning", "message": {"text": warning}});
    let notifications: Vec<Value> = warnings.iter().map(notification).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "policyctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

/// A place in a file; what has no file is located by its name.
pub(crate) fn location(place: Option<&Place>, name: &str) -> Value {
    match place {
        Some(place) => json!({"physicalLocation": {
            "artifactLocation": {"uri": uri(&place.source)},
            "region": {"startLine": place.line, "startColumn": place.column},
        }}),
        None => {
            json!({"logicalLocations": [{"fullyQualifiedName": name, "kind": "resource"}]})
        }
    }
}

/// The URI of a file, relative to the folder that the command runs in; `stdin` for standard input.
fn uri(source: &str) -> String {
    if source == STDIN {
        return "stdin".to_owned();
    }
    utf8_percent_encode(source, OUTSIDE_PATHS).to_string()
}
