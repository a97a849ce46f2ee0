//! Findings as SARIF 2.1.0 (OASIS).

use policy_core::lint::{RULES, Rule};
use serde_json::{Value, json};

use super::report::Located;

/// A log with one run.
pub(super) fn log(findings: &[Located]) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "policyctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(rule).collect::<Vec<_>>(),
            }},
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(rule: &Rule) -> Value {
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
                "artifactLocation": {"uri": place.source.replace(' ', "%20")},
                "region": {"startLine": place.line, "startColumn": place.column},
            }})
        })
        .collect();
    // What stands in no file is found by its name.
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
