//! Findings as SARIF 2.1.0 (OASIS).

use policy_core::lint::{LintRule, RULES};
use serde_json::{Value, json};

use super::report::Located;
use crate::sarif;

/// A log with one run; warnings are notifications of the tool.
pub(super) fn log(findings: &[Located], warnings: &[String]) -> Value {
    let rules: Vec<Value> = RULES.iter().map(rule).collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    sarif::log(&rules, &results, warnings)
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
    json!({
        "ruleId": code,
        "ruleIndex": RULES.iter().position(|rule| rule.code == *code),
        "level": level.to_string(),
        "message": {"text": format!("{kind} {object}: {message}; {suggestion}")},
        "locations": [sarif::location(place.as_ref(), &format!("{kind} {object}"))],
    })
}
