//! Findings as SARIF 2.1.0 (OASIS).

use policy_core::lint::{LintRule, RULES};
use serde_json::{Value, json};

use super::report::{Located, Report, SuppressedFinding};
use crate::sarif;

/// A log with one run; warnings are notifications of the tool.
pub(super) fn log(report: &Report, warnings: &[String]) -> Value {
    let rules: Vec<Value> = RULES.iter().map(rule).collect();
    let suppressed = report.suppressed.iter().map(|SuppressedFinding { finding, reason }| {
        let mut result = result(finding);
        result["suppressions"] = json!([{"kind": "inSource", "justification": reason}]);
        result
    });
    let results: Vec<Value> = report.findings.iter().map(result).chain(suppressed).collect();
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
